# Every target needs make and Python 3.11 or newer, nothing else. `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
DISTRIBUTIONS := shared services/intake services/scheduling services/outcomes services/mdt deploy/kanwa
PROJECT_FILES := $(addsuffix /pyproject.toml,$(DISTRIBUTIONS))
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed
# The tests' own pip needs no index address of ours: pip is used as the machine has it set up.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

FHIR_FOLDER ?= ../shared/fhir-data
BASE ?=
REQUESTS ?= 10000
SEED ?=
TEST ?=
ARGS ?=
# Two processes share the test files, each with servers and databases of its own; 0 runs them in one, for a debugger.
WORKERS ?= 2

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: $(RUNTIME) ## Start everything embedded on 127.0.0.1:8080 (KANWA_PORT moves it); Ctrl-C stops it
	@exec $(BIN)/kanwa run $(ARGS)

.PHONY: demo
demo: $(RUNTIME) ## The same, with example cases of all four procedure groups going through the loop
	@exec $(BIN)/kanwa demo $(ARGS)

.PHONY: test
test: $(DEVELOPMENT) ## Run every test (TEST=tests/unit for a part, ARGS="-k name" for pytest options)
	@exec $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS) $(TEST)

.PHONY: test-unit
test-unit: $(DEVELOPMENT) ## Run the tests that need no server
	@exec $(BIN)/python -m pytest $(ARGS) tests/unit

.PHONY: lint
lint: $(DEVELOPMENT) ## Check style, format, types and import boundaries
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

.PHONY: format
format: $(DEVELOPMENT) ## Rewrite the code in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(DEVELOPMENT) ## Measure throughput and latency beside the floor of the same machine
	@exec $(BIN)/python -m tests.bench $(ARGS)

.PHONY: chaos
chaos: $(DEVELOPMENT) ## Inject faults under load and prove that nothing is lost or done twice (SECONDS=600 SEED=7)
	@exec $(BIN)/python -m tests.chaos $(addprefix --seconds ,$(SECONDS)) $(addprefix --seed ,$(SEED)) $(ARGS)

.PHONY: conformance
conformance: $(DEVELOPMENT) ## Post every file of FHIR_FOLDER and write docs/conformance.md
	@exec $(BIN)/kanwa conformance $(FHIR_FOLDER) $(ARGS)

.PHONY: oracle-validation
oracle-validation: $(DEVELOPMENT) ## Judge the mutation corpus beside four other validators (npm) and write a page
	@exec $(BIN)/python -m tests.mutations

.PHONY: fuzz
fuzz: $(DEVELOPMENT) ## Send REQUESTS=10000 strange requests to an embedded kanwa (SEED repeats a run)
	@exec $(BIN)/python -m tests.fuzz --requests $(REQUESTS) $(if $(SEED),--seed $(SEED))

.PHONY: oracle-search
oracle-search: $(DEVELOPMENT) ## Compare searches with Medplum's memory repository (npm) and write a page
	@exec $(BIN)/python -m tests.searches

.PHONY: clients
clients: $(DEVELOPMENT) ## Run the flows of five FHIR clients (PyPI, npm) against an embedded kanwa
	@exec $(BIN)/python -m tests.clients $(BASE)

.PHONY: env
env: ## Write .env for compose with random passwords; one that is there stays as it is
	@sh deploy/make-env.sh

.PHONY: compose-check
compose-check: $(DEVELOPMENT) ## Run the loop of all four groups against a compose deployment that is up
	@exec $(BIN)/python deploy/compose_check.py $(ARGS)

.PHONY: lock
lock: $(DEVELOPMENT) ## Choose versions anew and write both lock files (ARGS="--upgrade" for the newest)
	@UV="$(BIN)/uv" sh deploy/lock.sh $(ARGS)

.PHONY: venv
venv: $(DEVELOPMENT) ## Install what developing needs into .venv

.PHONY: clean
clean: ## Stop a forgotten embedded server and remove ./.kanwa (the cases of `make run`)
	@sh deploy/clean.sh .kanwa

.PHONY: distclean
distclean: clean ## Remove ./.kanwa, the installation in .venv and all caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name '*.egg-info' -prune -exec rm -rf {} +

$(BIN)/python:
	@python=$$(sh deploy/find-python.sh) && echo "Creating $(VENV) with $$python" && "$$python" -m venv $(VENV)

# One stamp for each set of packages: a second `make` installs nothing.
$(RUNTIME): requirements.lock $(PROJECT_FILES) | $(BIN)/python
	@echo "Installing kanwa into $(VENV) (once)"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation $(addprefix -e ./,$(DISTRIBUTIONS))
	@touch $@

$(DEVELOPMENT): requirements-dev.lock $(RUNTIME)
	@echo "Installing the development tools into $(VENV) (once)"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

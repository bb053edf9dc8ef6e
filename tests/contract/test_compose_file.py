"""What the compose deployment promises, as far as its files can show it."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from kanwa.broker_accounts import SERVICES, accounts
from kanwa.gateway import service_for
from kanwa_shared.fhir.validation import RESOURCE_TYPES
from kanwa_shared.messaging.topology import Topology
from kanwa_shared.rest.app import PEER_ROUTES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
CONTAINERS: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]


def variables(text: str) -> dict[str, str]:
    """Read an env file."""
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


EXAMPLE = variables((ROOT / ".env.example").read_text())
AMQP_PASSWORDS = {name: value for name, value in EXAMPLE.items() if name.endswith("_AMQP_PASSWORD")}
LASTING = [name for name, container in CONTAINERS.items() if container["restart"] == "unless-stopped"]
OURS = [name for name, container in CONTAINERS.items() if container["image"].startswith("kanwa:")]


def published(container: dict[str, Any]) -> list[str]:
    return container.get("ports", [])


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_an_api_a_worker_and_a_migration(service: str) -> None:
    assert CONTAINERS[f"{service}-api"]["command"] == ["serve", service, "api"]
    assert CONTAINERS[f"{service}-worker"]["command"] == ["serve", service, "worker"]
    assert CONTAINERS[f"migrate-{service}"]["command"] == ["migrate", service]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("process", ["api", "worker"])
def test_a_process_uses_the_database_and_the_account_of_its_service(service: str, process: str) -> None:
    environment = CONTAINERS[f"{service}-{process}"]["environment"]
    database, broker = environment["KANWA_DATABASE_URL"], environment["KANWA_AMQP_URL"]
    assert re.fullmatch(rf"postgresql://kanwa_{service}:\$.*@postgres:5432/kanwa_{service}", database)
    assert re.fullmatch(rf"amqp://kanwa_{service}:\$.*@rabbitmq:5672/%2F", broker)


@pytest.mark.parametrize("service", SERVICES)
def test_only_the_migration_connects_as_the_owner_of_the_tables(service: str) -> None:
    owner = f"kanwa_{service}_owner:"
    users = [name for name, container in CONTAINERS.items() if owner in str(container.get("environment"))]
    assert users == [f"migrate-{service}"]


@pytest.mark.parametrize("name", LASTING)
def test_what_runs_on_has_a_health_check_limits_and_a_bounded_log(name: str) -> None:
    container = CONTAINERS[name]
    assert container["healthcheck"]["test"]
    assert container["deploy"]["resources"]["limits"]["memory"]
    assert container["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_ports_are_published_on_the_bind_address_alone(name: str) -> None:
    for port in published(CONTAINERS[name]):
        assert port.startswith("${KANWA_BIND_ADDRESS:-127.0.0.1}:")


def test_databases_and_redis_are_not_reachable_from_outside() -> None:
    assert {name for name in CONTAINERS if published(CONTAINERS[name])} == {"gateway", "rabbitmq"}
    for name in ("postgres", "redis"):
        assert CONTAINERS[name]["networks"] == ["backing"]


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_read_only_and_without_capabilities(name: str) -> None:
    container = CONTAINERS[name]
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in container  # the image's own, which is not root


def test_the_image_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (.+)$", (ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE)
    assert users
    assert not users[-1].startswith(("0", "root"))


def test_services_wait_for_migrations_accounts_and_topology() -> None:
    for service in SERVICES:
        for process in ("api", "worker"):
            waits = CONTAINERS[f"{service}-{process}"]["depends_on"]
            for job in (f"migrate-{service}", "rabbitmq-accounts", "topology", "keys"):
                assert waits[job] == {"condition": "service_completed_successfully"}


def test_no_password_stands_in_the_compose_file_or_has_a_default() -> None:
    assert not re.findall(r"(?i)password[^\n]*:-[^}]", TEXT)
    named = set(re.findall(r"\$\{(\w*PASSWORD)\b", TEXT))
    assert named
    assert named <= EXAMPLE.keys()


def test_every_variable_that_must_be_set_stands_in_the_example() -> None:
    assert set(re.findall(r"\$\{(\w+):\?", TEXT)) <= EXAMPLE.keys()


def test_every_password_of_the_example_is_marked_as_one() -> None:
    passwords = {name: value for name, value in EXAMPLE.items() if name.endswith("_PASSWORD")}
    assert len(set(passwords.values())) == len(passwords)
    assert all("example" in value for value in passwords.values())


@pytest.mark.parametrize(
    ("address", "password", "starts"),
    [
        ("127.0.0.1", "example-postgres", True),
        ("0.0.0.0", "example-postgres", False),  # noqa: S104 - the case that must be refused
        ("192.0.2.7", "example-postgres", False),
        ("0.0.0.0", "6b1f9d", True),  # noqa: S104 - the same
    ],
)
def test_example_passwords_are_refused_on_an_address_that_others_reach(
    address: str, password: str, starts: bool
) -> None:
    environment = {"PATH": os.environ["PATH"], "KANWA_BIND_ADDRESS": address, "POSTGRES_PASSWORD": password}
    done = subprocess.run(
        ["sh", ROOT / "deploy/check-secrets.sh"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) is starts
    assert ("POSTGRES_PASSWORD" in done.stdout) is not starts


def test_a_generated_env_has_every_variable_and_only_passwords_of_its_own(tmp_path: Path) -> None:
    (tmp_path / ".env.example").write_bytes((ROOT / ".env.example").read_bytes())
    subprocess.run(["sh", ROOT / "deploy/make-env.sh"], cwd=tmp_path, capture_output=True, check=True)
    written = tmp_path / ".env"
    assert written.stat().st_mode & 0o077 == 0
    lines = variables(written.read_text())
    assert lines.keys() == EXAMPLE.keys()
    passwords = [value for name, value in lines.items() if name.endswith("_PASSWORD")]
    assert len(set(passwords)) == len(passwords)
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in passwords)


def owner_by_nginx(path: str) -> str:
    """Apply the map of owners.conf as nginx would."""
    conf = (ROOT / "deploy/nginx/owners.conf").read_text()
    for pattern, owner in re.findall(r'"~(.+?)" (\w+);', conf):
        if re.search(pattern, path):
            return owner
    match = re.search(r"default (\w+);", conf)
    assert match
    return match[1]


def test_nginx_and_the_embedded_gateway_send_every_type_to_the_same_service() -> None:
    paths = ["/fhir", "/fhir/", "/fhir/metadata", "/fhir/Appointments", "/fhir/Appointment/$find"]
    for resource_type in RESOURCE_TYPES:
        paths += [f"/fhir/{resource_type}{rest}" for rest in ("", "/", "/1", "/1/_history/2", "/_search")]
    assert {path: owner_by_nginx(path) for path in paths} == {path: service_for(path) for path in paths}


@pytest.mark.parametrize(
    "path", ["/cds-services", "/cds-services/x", "/.well-known/smart-configuration", "/", "/events"]
)
def test_nginx_and_the_embedded_gateway_agree_on_what_is_not_fhir(path: str) -> None:
    locations = re.findall(
        r"location (/[\w./-]*) \{\s+set \$kanwa_\w+ (\w+)-api;",
        (ROOT / "deploy/nginx/kanwa.conf.template").read_text(),
    )
    _, service = max(location for location in locations if path.startswith(location[0]))
    assert service == service_for(path)


def location_by_nginx(path: str) -> str:
    """The location of the template that nginx takes for a path: the exact one, a pattern's, the longest prefix's."""
    found = re.findall(
        r"^    location (=|~)? ?(\S+) \{",
        (ROOT / "deploy/nginx/kanwa.conf.template").read_text(),
        re.MULTILINE,
    )
    exact = [place for kind, place in found if kind == "=" and place == path]
    patterns = [place for kind, place in found if kind == "~" and re.search(place, path)]
    prefixes = [place for kind, place in found if not kind and place[0] == "/" and path.startswith(place)]
    return (exact or patterns or [max(prefixes, key=len)])[0]


@pytest.mark.parametrize("path", [path for _, path, _ in PEER_ROUTES])
def test_no_gateway_leads_to_what_the_services_ask_each_other(path: str) -> None:
    board = location_by_nginx("/")
    assert location_by_nginx("/fhir/Task") == "/fhir/"
    for asked in (path, f"{path}/", f"/{path}"):
        assert location_by_nginx(asked) == board
        assert service_for(asked) == "mdt", "which has no such path"


def test_nginx_sends_each_sources_event_log_to_that_source_alone() -> None:
    template = (ROOT / "deploy/nginx/kanwa.conf.template").read_text()
    match = re.search(r"location ~ (\^/events/\S+) \{\s+proxy_pass http://\$1-api:8000;", template)
    assert match
    for service in ("intake", "scheduling", "outcomes"):
        found = re.fullmatch(match[1], f"/events/{service}")
        assert found
        assert found[1] == service == service_for(f"/events/{service}")
    for path in ("/events", "/events/mdt", "/events/intake/x"):
        assert not re.fullmatch(match[1], path)
        assert service_for(path) == "mdt"


def test_a_service_may_publish_only_under_its_own_name_and_declare_nothing() -> None:
    made = {account.user: account for account in accounts(AMQP_PASSWORDS, Topology(()))}
    outside = {"kanwa_subscriber", "kanwa_dashboard"}
    assert made.keys() == {f"kanwa_{service}" for service in SERVICES} | outside
    intake = made["kanwa_intake"]
    assert not re.search(intake.configure, "kanwa.events")
    assert re.search(intake.write, "kanwa.events")
    assert re.search(intake.routing_keys, "intake.Task.create")
    assert not re.search(intake.routing_keys, "scheduling.Appointment.create")
    assert re.search(intake.read, "kanwa.intake")
    assert not re.search(intake.read, "kanwa.scheduling")


def test_a_dashboard_outside_can_read_notifications_but_no_event_with_its_resource() -> None:
    made = {account.user: account for account in accounts(AMQP_PASSWORDS, Topology(()))}
    dashboard = made["kanwa_dashboard"]
    assert re.search(dashboard.read, "kanwa.notifications")
    assert not re.search(dashboard.read, "kanwa.events")
    assert not re.search(dashboard.write, "kanwa.notifications")
    assert re.search(dashboard.configure, "kanwa_dashboard.screen")
    assert re.search(made["kanwa_subscriber"].read, "kanwa.events")


def test_the_roles_script_knows_every_service() -> None:
    script = (ROOT / "deploy/postgres/roles.sh").read_text()
    match = re.search(r"for service in ([\w ]+); do", script)
    assert match
    assert tuple(match[1].split()) == SERVICES

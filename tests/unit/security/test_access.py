"""What each request needs; a path that nobody thought of is closed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanwa_shared.rest.app import PEER_ROUTES, ROUTES
from kanwa_shared.security.access import ANY_CALLER, check_access, check_chains, check_entry, required_access
from kanwa_shared.security.caller import Caller, InsufficientScope
from kanwa_shared.security.scopes import parse_scopes

EXPECTED = [
    ("GET", "/fhir/ServiceRequest", "ServiceRequest.s"),
    ("HEAD", "/fhir/ServiceRequest", "ServiceRequest.s"),
    ("POST", "/fhir/ServiceRequest/_search", "ServiceRequest.s"),
    ("POST", "/fhir/ServiceRequest", "ServiceRequest.c"),
    ("GET", "/fhir/ServiceRequest/1", "ServiceRequest.r"),
    ("HEAD", "/fhir/ServiceRequest/1", "ServiceRequest.r"),
    ("GET", "/fhir/ServiceRequest/1/_history", "ServiceRequest.r"),
    ("GET", "/fhir/ServiceRequest/1/_history/2", "ServiceRequest.r"),
    ("PUT", "/fhir/Task/1", "Task.u"),
    ("PATCH", "/fhir/Task/1", "Task.u"),
    ("DELETE", "/fhir/Task/1", "Task.d"),
    ("PUT", "/fhir/Task", "Task.u Task.s"),
    ("DELETE", "/fhir/Task", "Task.d Task.s"),
    ("GET", "/fhir/Task/_history", "Task.s"),
    ("GET", "/fhir/_history", "*.s"),
    ("GET", "/fhir", "*.s"),
    ("POST", "/fhir/_search", "*.s"),
    ("GET", "/fhir/Patient/1/Observation", "Observation.s"),
    ("GET", "/fhir/Observation/$export/1", "Observation.r Observation.s"),
    ("POST", "/fhir/Appointment/$book", "Appointment.c Appointment.u"),
    ("POST", "/fhir/Appointment/1/$cancel", "Appointment.c Appointment.u"),
    ("POST", "/fhir/Appointment/$find", "Appointment.s"),
    ("GET", "/fhir/Appointment/$find", "Appointment.s"),
    ("GET", "/", "*.r *.s"),
    ("GET", "/events", "*.r *.s"),
    ("POST", "/cases/1/decision", "*.r *.s"),
    ("POST", "/cds-services/ir-options", ""),
    ("POST", "/fhir", ""),
    ("POST", "/fhir/", ""),
    ("GET", "/fhir/Nonsense", ""),
    ("GET", "/metrics", ""),
    ("POST", "/fhir/metadata", ""),
    ("DELETE", "/health", "*.r *.s"),
]
OPEN = ["/health", "/ready", "/fhir/metadata", "/fhir/.well-known/smart-configuration", "/cds-services"]
READING = frozenset({"$find"})


@pytest.mark.parametrize(("method", "path", "needs"), EXPECTED, ids=lambda value: str(value))
def test_a_request_needs_the_permission_of_its_interaction(method: str, path: str, needs: str) -> None:
    access = required_access(method, path, reading_operations=READING)
    assert not access.open
    assert [f"{name}.{letter}" for name, letter in access.needs] == needs.split()


@pytest.mark.parametrize("path", [*OPEN, "/static/board.css", "/login"])
def test_what_a_client_must_know_to_get_in_is_open(path: str) -> None:
    assert required_access("GET", path).open


def test_a_conditional_create_searches_too() -> None:
    access = required_access("POST", "/fhir/Task", conditional=True)
    assert access.needs == (("Task", "c"), ("Task", "s"))


@given(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]), st.text())
def test_no_path_is_open_but_those_that_are_listed(method: str, rest: str) -> None:
    path = "/" + rest
    if required_access(method, path).open:
        assert path in {*OPEN, "/login", "/logout", "/favicon.ico"} or path.startswith("/static/")


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, _ in (*ROUTES, *PEER_ROUTES)])
def test_every_route_of_the_engine_is_closed_or_meant_to_be_open(method: str, path: str) -> None:
    filled = path.replace("{resource_type}", "Task").replace("{id}", "1").replace("{version}", "1")
    access = required_access(method, filled.replace("{operation}", "hold"))
    if path.startswith(("/peers/", "/fhir/$export")) and path != "/peers/capability":
        assert access == ANY_CALLER, "what answers asks about each type"
    else:
        meant_open = {"/fhir/metadata", "/fhir/openapi.json", "/peers/capability"}
        assert access.needs or path in meant_open or "/.well-known/" in path


def test_each_entry_of_a_bundle_is_asked_about_on_its_own() -> None:
    caller = Caller("ehr", parse_scopes("system/ServiceRequest.c system/Patient.cs"))
    check_entry(caller, "POST", "ServiceRequest")
    check_entry(caller, "POST", "Patient", conditional=True)
    check_entry(caller, "GET", "Patient?name=a/b")
    for method, url in (("POST", "Task"), ("PUT", "ServiceRequest/1"), ("GET", "ServiceRequest/1")):
        with pytest.raises(InsufficientScope):
            check_entry(caller, method, url)
    with pytest.raises(InsufficientScope):
        check_entry(caller, "POST", "ServiceRequest", conditional=True)


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("subject:Patient.name", "Patient"),
        ("subject.name", r"\*"),
        ("_has:Observation:patient:code", "Observation"),
        ("_has:Task:focus:_has:Observation:patient:code", "Observation"),
        ("based-on:ServiceRequest.subject:Patient.name", "Patient"),
    ],
)
def test_a_chained_search_needs_the_types_that_it_asks_about(name: str, missing: str) -> None:
    caller = Caller("ehr", parse_scopes("system/ServiceRequest.rs system/Task.rs"))
    with pytest.raises(InsufficientScope, match=rf"system/{missing}\.s"):
        check_chains(caller, ["status", name])
    check_chains(Caller("ehr", parse_scopes("system/*.s")), [name])
    check_chains(caller, ["status:not", "focus", "focus:ServiceRequest.status", "_has:Task:focus:status"])


def test_part_of_the_types_does_not_open_the_board() -> None:
    caller = Caller("wall", parse_scopes("system/ServiceRequest.rs system/Task.rs"))
    with pytest.raises(InsufficientScope, match=r"system/\*\.r"):
        check_access(caller, required_access("GET", "/events"))
    check_access(Caller("wall", parse_scopes("system/*.rs")), required_access("GET", "/events"))

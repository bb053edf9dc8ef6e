"""Resources beside the matches, and references in every way a client may write them."""

from urllib.parse import parse_qsl

import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from kanwa_shared.fhir.search import SearchPage, execute, parse_search
from kanwa_shared.fhir.search.including import MAX_INCLUDED
from tests.support import indexed

Connection = AsyncConnection[TupleRow]
BASE = "https://kanwa.test/fhir"
PATIENT = {"resourceType": "Patient", "id": "p"}
REQUEST = {
    "resourceType": "ServiceRequest",
    "id": "s",
    "status": "active",
    "intent": "order",
    "subject": {"reference": "Patient/p"},
    "requester": {"reference": "Practitioner/d/_history/3"},
}
TASK = {
    "resourceType": "Task",
    "id": "t",
    "status": "requested",
    "intent": "order",
    "focus": {"reference": "ServiceRequest/s"},
    "partOf": [{"reference": "Task/whole"}],
}
WHOLE = {**TASK, "id": "whole", "partOf": [{"reference": "Task/t"}]}
PRACTITIONER = {"resourceType": "Practitioner", "id": "d"}


@pytest.fixture(autouse=True)
async def _written(connection: Connection) -> None:
    await indexed.write(connection, [PATIENT, REQUEST, TASK, WHOLE, PRACTITIONER])


async def _page(connection: Connection, path: str) -> SearchPage:
    resource_type, _, query = path.partition("?")
    return await execute(connection, parse_search(resource_type, parse_qsl(query)), base_url=BASE)


@pytest.mark.parametrize(
    ("path", "included"),
    [
        ("ServiceRequest?_include=ServiceRequest:subject", ["Patient/p"]),
        ("ServiceRequest?_include=ServiceRequest:patient", ["Patient/p"]),
        ("ServiceRequest?_include=ServiceRequest:subject:Group", []),
        ("ServiceRequest?_include=ServiceRequest:*", ["Patient/p", "Practitioner/d"]),
        ("ServiceRequest?_include=*", ["Patient/p", "Practitioner/d"]),
        ("ServiceRequest?_revinclude=Task:focus", ["Task/t", "Task/whole"]),
        ("Task?_id=t&_include=Task:focus", ["ServiceRequest/s"]),
        ("Task?_id=t&_include=Task:focus&_include=Task:part-of", ["ServiceRequest/s", "Task/whole"]),
        (
            "Task?_id=t&_include=Task:focus&_include:iterate=ServiceRequest:patient",
            ["ServiceRequest/s", "Patient/p"],
        ),
        ("Task?_id=t&_include:recurse=Task:part-of", ["Task/whole"]),
        (
            "Patient?_revinclude=ServiceRequest:subject&_revinclude:iterate=Task:focus",
            ["ServiceRequest/s", "Task/t", "Task/whole"],
        ),
        ("Task?_include=Task:part-of", []),
    ],
)
async def test_includes_add_what_is_referred_to(
    connection: Connection, path: str, included: list[str]
) -> None:
    page = await _page(connection, path)
    assert sorted(resource.reference for resource in page.included) == sorted(included)


async def test_a_deleted_resource_is_not_included(connection: Connection) -> None:
    await indexed.delete(connection, "Patient", "p")
    assert (await _page(connection, "ServiceRequest?_include=ServiceRequest:subject")).included == []


async def test_too_many_included_resources_are_cut_with_a_warning(connection: Connection) -> None:
    tasks = [{**TASK, "id": f"t{number}", "partOf": []} for number in range(MAX_INCLUDED + 1)]
    await indexed.write(connection, tasks)
    page = await _page(connection, "ServiceRequest?_revinclude=Task:focus")
    assert len(page.included) == MAX_INCLUDED
    assert [issue.code for issue in page.notes] == ["incomplete"]


@pytest.mark.parametrize(
    "query",
    [
        "subject=Patient/p",
        "subject=p",
        "subject:Patient=p",
        "subject:Patient=Patient/p",
        f"subject={BASE}/Patient/p",
        "patient=p",
        "patient=Patient/p",
        "subject=Group/x,Patient/p",
        "subject=Patient/p/_history/7",
        "requester=Practitioner/d",
        "subject:Patient._id=p",
        "patient._id=p",
        "_has:Task:focus:status=requested",
    ],
)
async def test_a_reference_is_found_however_it_is_written(connection: Connection, query: str) -> None:
    assert [match.id for match in (await _page(connection, f"ServiceRequest?{query}")).matches] == ["s"]


@pytest.mark.parametrize(
    "query",
    ["subject=Group/p", "patient=Group/p", "subject=q", "subject=https://other.test/fhir/Patient/p"],
)
async def test_a_reference_to_something_else_is_not_found(connection: Connection, query: str) -> None:
    assert (await _page(connection, f"ServiceRequest?{query}")).matches == []


async def test_a_replica_or_own_resource_is_read_at_once(connection: Connection) -> None:
    await indexed.write(connection, [{**REQUEST, "status": "completed"}])
    assert (await _page(connection, "ServiceRequest?status=active")).total == 0
    page = await _page(connection, "ServiceRequest?status=completed")
    assert [(match.id, match.version) for match in page.matches] == [("s", 2)]

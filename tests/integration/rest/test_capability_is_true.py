"""What the CapabilityStatement declares is there, for every type of every service, and nothing else answers 2xx."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from kanwa_shared.fhir.validation import official_search_parameters
from kanwa_shared.fhir.validation.resource_types import R4_RESOURCE_TYPES, RESOURCE_TYPES
from kanwa_shared.rest.openapi import affects_state, levels_of
from tests.mutations.cases import seeds
from tests.support.fhir_server import FhirServer, fhir_server
from tests.support.minimal_resources import minimal

#: A value that each kind of search parameter takes.
VALUES = {
    "date": "ge2026-01-01",
    "number": "lt5",
    "quantity": "5.4|http://unitsofmeasure.org|mg",
    "token": "http://x.example|a",
    "reference": "Patient/x",
    "string": "a",
    "uri": "http://x.example/a",
    "composite": "http://x.example|a$http://x.example|b",
}
#: Composites by the kinds of their parts: a value for each.
COMPOSITE_VALUES = [
    "http://x|a$http://x|b",
    "http://x|a$ge2026",
    "http://x|a$5",
    "http://x|a$a",
    "http://x/a$Patient/x",
    "Patient/x$http://x|a",
    "http://x|a$5$5",
]
#: Operations that R4 defines, and one that nobody does.
R4_OPERATIONS = (
    "$apply",
    "$closure",
    "$conforms",
    "$convert",
    "$data-requirements",
    "$document",
    "$everything",
    "$expand",
    "$find",
    "$find-matches",
    "$graph",
    "$graphql",
    "$lastn",
    "$lookup",
    "$match",
    "$populate",
    "$snapshot",
    "$stats",
    "$submit",
    "$subsumes",
    "$transform",
    "$translate",
    "$validate-code",
    "$banana",
)


@pytest.fixture
async def server(database: Callable[..., str]) -> AsyncIterator[FhirServer]:
    async with fhir_server(database, export_settle_seconds=0) as running:
        yield running


async def declared(fhir: httpx.AsyncClient) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    (rest,) = (await fhir.get("metadata")).json()["rest"]
    return rest, {resource["type"]: resource for resource in rest["resource"]}


def codes_of(described: dict[str, Any]) -> set[str]:
    return {interaction["code"] for interaction in described["interaction"]}


def example(resource_type: str) -> dict[str, Any] | None:
    """A valid resource of the type, from the examples or made."""
    found = [tree for _, tree in seeds().get(resource_type, ())]
    tree = minimal(resource_type) or (found[0] if found else None)
    return None if tree is None else json.loads(json.dumps(tree, default=str))


def is_missing(answer: httpx.Response) -> bool:
    """Whether the answer says that there is no such interaction, operation or type."""
    codes = {issue["code"] for issue in answer.json().get("issue", ())} if answer.content else set[str]()
    return answer.status_code in {404, 405, 501} and "not-supported" in codes


async def test_every_interaction_that_is_declared_is_there_for_every_type(server: FhirServer) -> None:
    fhir = server.fhir
    rest, resources = await declared(fhir)
    assert set(resources) == set(RESOURCE_TYPES)
    written: Counter[str] = Counter()
    for name, described in resources.items():
        codes = codes_of(described)
        tree = example(name)
        created = await fhir.post(name, content=json.dumps(tree or {"resourceType": name}))
        assert not is_missing(created), (name, created.text)
        written[str(created.status_code)] += 1
        if tree is not None:
            assert created.status_code in {201, 409, 422}, (name, created.text)
        if created.status_code != 201:
            continue
        whole: dict[str, Any] = created.json()
        path = f"{name}/{whole['id']}"
        expected = {
            "read": await fhir.get(path),
            "vread": await fhir.get(f"{path}/_history/1"),
            "history-instance": await fhir.get(f"{path}/_history"),
            "history-type": await fhir.get(f"{name}/_history"),
            "search-type": await fhir.get(name, params={"_id": whole["id"]}),
        }
        for code, answer in expected.items():
            assert (answer.status_code == 200) == (code in codes), (name, code, answer.text)
        updated = await fhir.put(path, json=whole)
        assert (updated.status_code in {200, 422}) == ("update" in codes), (name, updated.text)
        patch = [{"op": "add", "path": "/language", "value": "en"}]
        patched = await fhir.patch(
            path, content=json.dumps(patch), headers={"content-type": "application/json-patch+json"}
        )
        assert (patched.status_code in {200, 422}) == ("patch" in codes), (name, patched.text)
        deleted = await fhir.delete(path)
        assert (deleted.status_code in {200, 204, 409, 422}) == ("delete" in codes), (name, deleted.text)
    assert written["201"] > 100, written
    assert codes_of(rest) >= {"batch", "transaction"}
    for kind in ("batch", "transaction"):
        assert (await fhir.post("", json={"resourceType": "Bundle", "type": kind})).status_code == 200
    assert ((await fhir.get("_history")).status_code == 200) == ("history-system" in codes_of(rest))
    assert ((await fhir.get("", params={"_id": "a"})).is_success) == ("search-system" in codes_of(rest))


async def test_a_definition_is_named_where_r4_has_it(server: FhirServer) -> None:
    _, resources = await declared(server.fhir)
    own: set[str] = set()
    for name, described in resources.items():
        for parameter in described["searchParam"]:
            definition = parameter.get("definition")
            if definition is None:
                own.add(f"{name}.{parameter['name']}")
            else:
                assert official_search_parameters.find(definition) is not None, definition
    assert own == {"DetectedIssue.status", "DeviceDefinition.classification", "ServiceRequest.order-detail"}


async def test_every_include_that_is_declared_is_served(server: FhirServer) -> None:
    _, resources = await declared(server.fhir)
    assert "ServiceRequest:requester" in resources["ServiceRequest"]["searchInclude"]
    assert "Procedure:based-on" in resources["ServiceRequest"]["searchRevInclude"]
    for name, described in resources.items():
        for member, parameter in (("searchInclude", "_include"), ("searchRevInclude", "_revinclude")):
            values = described.get(member, [])
            for start in range(0, len(values), 90):
                query = [(parameter, value) for value in values[start : start + 90]]
                answer = await server.fhir.get(name, params=[*query, ("_count", "1")])
                assert answer.status_code == 200, (name, answer.text)


async def test_every_search_parameter_that_is_declared_is_served_and_no_other(server: FhirServer) -> None:
    fhir = server.fhir
    _, resources = await declared(fhir)
    everywhere = {parameter["name"] for each in resources.values() for parameter in each["searchParam"]}
    for name, described in resources.items():
        own = {parameter["name"]: parameter["type"] for parameter in described["searchParam"]}
        composites = [code for code, kind in own.items() if kind == "composite"]
        # One request for all: a parameter that is not served is refused by name.
        query = [(code, VALUES[kind]) for code, kind in own.items() if kind != "composite"]
        answer = await fhir.get(name, params=[*query, ("_count", "1")])
        assert answer.status_code == 200, (name, answer.text)
        for code in composites:
            answers = [
                await fhir.get(name, params={code: value, "_count": "1"}) for value in COMPOSITE_VALUES
            ]
            assert any(answer.status_code == 200 for answer in answers), (name, code, answers[0].text)
        strangers = [*sorted(everywhere - set(own))[:: max(1, len(everywhere) // 5)], "banana"]
        answer = await fhir.get(name, params=dict.fromkeys(strangers, "a"))
        codes = [issue["code"] for issue in answer.json()["issue"]]
        assert (answer.status_code, codes) == (400, ["not-supported"] * len(strangers)), (name, answer.text)


async def test_every_operation_that_is_declared_is_there_and_no_other(server: FhirServer) -> None:
    fhir = server.fhir
    rest, resources = await declared(fhir)
    empty = {"resourceType": "Parameters"}
    for number, (name, described) in enumerate(resources.items()):
        offered = {
            (f"${one['name']}", level): one for one in described["operation"] for level in levels_of(one)
        }
        for operation in {name for name, _ in offered} | {R4_OPERATIONS[number % len(R4_OPERATIONS)]}:
            for level, path in (("type", f"{name}/{operation}"), ("instance", f"{name}/x/{operation}")):
                posted = await fhir.post(path, json=empty)
                found = offered.get((operation, level))
                assert is_missing(posted) == (found is None), (path, posted.status_code, posted.text)
                if found is not None and affects_state(found):
                    assert (await fhir.get(path)).status_code == 400, path
        valid = example(name)
        if valid is not None and ("$validate", "type") in offered:
            assert (await fhir.post(f"{name}/$validate", json=valid)).status_code == 200
    whole = {f"${one['name']}" for one in rest["operation"]}
    for operation in (*whole, *R4_OPERATIONS):
        answer = await fhir.get(operation)
        assert (answer.is_success, is_missing(answer)) == (operation in whole, operation not in whole), (
            operation
        )


async def test_types_that_are_not_declared_are_not_there(server: FhirServer) -> None:
    fhir = server.fhir
    for name in (
        *sorted(R4_RESOURCE_TYPES - RESOURCE_TYPES),
        "Banana",
        "patient",
        "Resource",
        "DomainResource",
    ):
        body = {"resourceType": name, "id": "x"}
        for answer in (
            await fhir.get(name),
            await fhir.get(f"{name}/x"),
            await fhir.get(f"{name}/_history"),
            await fhir.post(name, json=body),
            await fhir.put(f"{name}/x", json=body),
            await fhir.delete(f"{name}/x"),
            await fhir.post(f"{name}/_search", data={}),
            await fhir.post(f"{name}/$validate", json=body),
        ):
            assert answer.status_code in {404, 415}, (name, answer.request.method, answer.status_code)


async def test_methods_that_no_interaction_has_are_refused(server: FhirServer) -> None:
    fhir = server.fhir
    for method, path in (
        ("POST", "Patient/x"),
        ("DELETE", "metadata"),
        ("PUT", "metadata"),
        ("DELETE", "Patient/x/_history"),
        ("DELETE", "Patient/x/_history/1"),
        ("PUT", "Patient/_search"),
        ("PUT", ""),
        ("DELETE", ""),
        ("PATCH", ""),
        ("PUT", "Patient/x/$validate"),
        ("DELETE", "Patient/$meta"),
        ("GET", "Patient/x/Observation"),
    ):
        answer = await fhir.request(method, path, content=b"{}")
        assert 400 <= answer.status_code < 500, (method, path, answer.status_code)

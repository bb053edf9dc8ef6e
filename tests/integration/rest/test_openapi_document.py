"""`/fhir/openapi.json` says what the CapabilityStatement says, and its schemas take what the server takes."""

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import jsonschema_rs
import pytest_asyncio

from kanwa_shared.fhir.validation import RESOURCE_TYPES
from kanwa_shared.fhir.validation.json_schema import schemas_of
from kanwa_shared.rest.app import ROUTES
from kanwa_shared.rest.routing import Interactions
from tests.mutations.cases import seeds
from tests.support.fhir_server import fhir_server


@pytest_asyncio.fixture
async def served(database: Callable[..., str]) -> AsyncIterator[tuple[dict[str, Any], dict[str, Any]]]:
    async with fhir_server(database) as server:
        yield (await server.fhir.get("openapi.json")).json(), (await server.fhir.get("metadata")).json()


async def test_the_document_has_what_the_capability_statement_has_and_nothing_else(
    served: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    document, statement = served
    assert document["openapi"].startswith("3.1")
    (rest,) = statement["rest"]
    of_types = {
        path.split("/")[1]: path for path in document["paths"] if path.split("/")[1] in RESOURCE_TYPES
    }
    assert set(of_types) == {resource["type"] for resource in rest["resource"]}
    for resource in rest["resource"]:
        name = resource["type"]
        for parameter in resource["searchParam"]:
            assert f"{name}.{parameter['name']}" in document["components"]["parameters"]
        for operation in resource["operation"]:
            assert any(
                path.endswith(f"${operation['name']}")
                for path in document["paths"]
                if path.startswith(f"/{name}/")
            )
    declared = sum(len(resource["searchParam"]) for resource in rest["resource"])
    assert len(document["components"]["parameters"]) == declared
    named = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    assert len(named) == sum(len(path) for path in document["paths"].values())


async def test_every_reference_of_the_document_resolves(
    served: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    document, _ = served
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document))):
        node: Any = document
        for step in reference.split("/"):
            node = node[step]


async def test_every_path_of_the_document_leads_to_an_interaction(
    served: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    document, _ = served
    routes = Interactions(ROUTES)
    for path, methods in document["paths"].items():
        filled = path.replace("{id}", "a").replace("{vid}", "1").replace("{job}", "b")
        for method in methods:
            scope = {"type": "http", "method": method.upper(), "path": "/fhir" + filled}
            if path != "/":
                assert routes.matches(scope)[0].name == "FULL", (method, path)


def _schema(resource_type: str) -> jsonschema_rs.Validator:
    components = {"schemas": schemas_of([*RESOURCE_TYPES])}
    root = {"$ref": f"#/components/schemas/{resource_type}", "components": components}
    return jsonschema_rs.validator_for(root)


def test_the_schemas_take_every_valid_resource_and_see_faults_of_shape() -> None:
    seen = 0
    for resource_type, resources in seeds().items():
        schema = _schema(resource_type)
        for name, tree in resources[:2]:
            plain = json.loads(json.dumps(tree, default=float))
            assert schema.is_valid(plain), (name, [error.message for error in schema.iter_errors(plain)][:2])
            assert not schema.is_valid({**plain, "banana": 1}), name
            seen += 1
    assert seen > len(seeds())


async def test_the_largest_count_of_the_document_is_the_largest_that_is_taken(
    database: Callable[..., str],
) -> None:
    async with fhir_server(database, page_size_max=10) as server:
        paths = (await server.fhir.get("openapi.json")).json()["paths"]
        for path in ("/Patient", "/Patient/_history", "/_history"):
            (count,) = [one for one in paths[path]["get"]["parameters"] if one.get("name") == "_count"]
            most = count["schema"]["maximum"]
            answers = [await server.fhir.get(f"{path[1:]}?_count={number}") for number in (most, most + 1)]
            assert [answer.status_code for answer in answers] == [200, 400]

"""`GET [base]/openapi.json`: the server as OpenAPI 3.1, made from its CapabilityStatement, so they cannot disagree."""

import asyncio
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.fhir.http import FHIR_JSON
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation.json_schema import SCHEMAS, schemas_of
from kanwa_shared.rest.capability import AFFECTS_STATE, OPERATION_LEVEL, capability_statement

_ID: Final[Tree] = {"name": "id", "in": "path", "required": True, "schema": {"$ref": SCHEMAS + "id"}}
_VERSION: Final[Tree] = {
    "name": "vid", "in": "path", "required": True, "schema": {"type": "string", "pattern": "^[1-9][0-9]{0,8}$"},
}  # fmt: skip
_JOB: Final[Tree] = {
    "name": "job",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
}
_SEARCHED_TEXT: Final[Tree] = {"type": "string", "minLength": 1}
#: A page is never larger than a setting says; who asks for more gets that, so the setting bounds no request.
_COUNT: Final[Tree] = {"type": "integer", "minimum": 0, "maximum": 999_999_999}
#: Parameters of a search over any type;
_RESULT_PARAMETERS: Final[dict[str, Tree]] = {
    "_count": _COUNT,
    "_sort": {"type": "string"},
    "_include": {"type": "string"},
    "_revinclude": {"type": "string"},
    "_total": {"type": "string", "enum": ["none", "estimate", "accurate"]},
    "_summary": {"type": "string", "enum": ["true", "text", "data", "count", "false"]},
    "_elements": {"type": "string"},
}
_HISTORY_PARAMETERS: Final[dict[str, Tree]] = {
    "_count": _COUNT,
    "_since": {"$ref": SCHEMAS + "instant"},
    "_at": {"$ref": SCHEMAS + "dateTime"},
}
_PATCHES: Final[Tree] = {
    "application/json-patch+json": {
        "schema": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["op", "path"],
                "properties": {
                    "op": {"enum": ["add", "remove", "replace", "move", "copy", "test"]},
                    "path": {"type": "string"},
                    "from": {"type": "string"},
                    "value": {},
                },
            },
        }
    },
    FHIR_JSON: {"schema": {"$ref": SCHEMAS + "Parameters"}},
}


async def openapi(request: Request) -> Response:
    """200 with the document."""
    statement = await capability_statement(request)
    written = await asyncio.to_thread(_written, msgspec.json.encode(statement))
    return Response(written, media_type="application/json")


@lru_cache(maxsize=2)  # it changes with a deployment only
def _written(statement: bytes) -> bytes:
    return msgspec.json.encode(document(msgspec.json.decode(statement)))


def document(statement: Tree) -> Tree:
    """The OpenAPI document of a CapabilityStatement. Pure."""
    (rest,) = statement["rest"]
    paths: dict[str, Tree] = dict(_of_the_server(rest))
    for described in rest["resource"]:
        for path, method, operation in _of_a_type(described):
            paths.setdefault(path, {})[method] = operation
    types = [described["type"] for described in rest["resource"]]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": statement["title"],
            "version": statement["software"]["version"],
            "description": f"FHIR {statement['fhirVersion']}. Every refusal is an OperationOutcome.",
        },
        "servers": [{"url": statement["implementation"]["url"]}],
        "paths": paths,
        "components": {
            "schemas": schemas_of(types),
            "parameters": _parameters_of(rest["resource"]),
            "responses": {
                "Refused": {
                    "description": "what is wrong, one issue for each fault",
                    "content": {FHIR_JSON: {"schema": {"$ref": SCHEMAS + "OperationOutcome"}}},
                }
            },
            **(
                {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}}
                if "security" in rest
                else {}
            ),
        },
        **({"security": [{"bearer": []}]} if "security" in rest else {}),
    }


def _of_the_server(rest: Tree) -> Iterator[tuple[str, Tree]]:
    """Paths without a resource type."""
    yield "/metadata", {"get": _operation("capabilities", None, _answers("CapabilityStatement"))}
    codes = {interaction["code"] for interaction in rest.get("interaction", ())}
    if codes & {"transaction", "batch"}:
        answers = _answers("Bundle")
        yield "/", {"post": _operation("transaction", None, answers, body=_resource("Bundle"))}
    if "history-system" in codes:
        yield (
            "/_history",
            {"get": _operation("history-system", None, _answers("Bundle"), _queries(_HISTORY_PARAMETERS))},
        )
    for operation in rest.get("operation", ()):
        name = operation["name"]
        yield f"/${name}", dict(_calls(operation, None, []))
        if name == "export":
            state: Tree = {
                "202": {"description": "under way, see X-Progress and Retry-After"},
                "200": {
                    "description": "the manifest",
                    "content": {"application/json": {"schema": {"type": "object"}}},
                },
            }
            gone: Tree = {"202": {"description": "forgotten"}}
            yield (
                "/$export/{job}",
                {
                    "get": _operation("export-status", None, state, [_JOB]),
                    "delete": _operation("export-delete", None, gone, [_JOB]),
                },
            )


def _of_a_type(described: Tree) -> Iterator[tuple[str, str, Tree]]:
    """Path, method and operation of everything that the statement says of a type."""
    name: str = described["type"]
    codes = {interaction["code"] for interaction in described.get("interaction", ())}
    searched = [*_queries(_RESULT_PARAMETERS), *_search_parameters(described)]
    conditional = _search_parameters(described)
    written = {
        **_answers(name),
        "201": _answers(name)["200"],
        "204": {"description": "with Prefer: return=minimal"},
    }
    gone: Tree = {"200": {"description": "deleted"}, "204": {"description": "deleted, or nothing to delete"}}
    if "create" in codes:
        headers = [_header("If-None-Exist"), _prefer()] if described.get("conditionalCreate") else [_prefer()]
        yield f"/{name}", "post", _operation("create", name, written, headers, _resource(name))
    if "search-type" in codes:
        yield f"/{name}", "get", _operation("search", name, _answers("Bundle"), searched)
        fields = {parameter["name"]: _SEARCHED_TEXT for parameter in described.get("searchParam", ())}
        form: Tree = {"type": "object", "properties": {**_RESULT_PARAMETERS, **fields}}
        body = {"application/x-www-form-urlencoded": {"schema": form}}
        yield f"/{name}/_search", "post", _operation("search-by-post", name, _answers("Bundle"), [], body)
    if "read" in codes:
        headers = [_header("If-None-Match"), _header("If-Modified-Since")]
        unchanged: Tree = {"304": {"description": "not modified"}}
        yield f"/{name}/{{id}}", "get", _operation("read", name, _answers(name) | unchanged, [_ID, *headers])
    if "vread" in codes:
        path = f"/{name}/{{id}}/_history/{{vid}}"
        unchanged = {"304": {"description": "not modified"}}
        yield path, "get", _operation("vread", name, _answers(name) | unchanged, [_ID, _VERSION])
    if "update" in codes:
        headers = [_header("If-Match"), _prefer()]
        yield f"/{name}/{{id}}", "put", _operation("update", name, written, [_ID, *headers], _resource(name))
        if described.get("conditionalUpdate"):
            operation = _operation(
                "conditional-update", name, written, [*headers, *conditional], _resource(name)
            )
            yield f"/{name}", "put", operation
    if "patch" in codes:
        headers = [_header("If-Match"), _prefer()]
        yield f"/{name}/{{id}}", "patch", _operation("patch", name, written, [_ID, *headers], _PATCHES)
        if described.get("conditionalUpdate"):
            operation = _operation("conditional-patch", name, written, [*headers, *conditional], _PATCHES)
            yield f"/{name}", "patch", operation
    if "delete" in codes:
        headers = [_header("If-Match")]
        yield f"/{name}/{{id}}", "delete", _operation("delete", name, gone, [_ID, *headers])
        if described.get("conditionalDelete", "not-supported") != "not-supported":
            operation = _operation("conditional-delete", name, gone, [*headers, *conditional])
            yield f"/{name}", "delete", operation
    for code, path in (
        ("history-instance", f"/{name}/{{id}}/_history"),
        ("history-type", f"/{name}/_history"),
    ):
        if code in codes:
            parameters = [*([_ID] if "{id}" in path else []), *_queries(_HISTORY_PARAMETERS)]
            yield path, "get", _operation(code, name, _answers("Bundle"), parameters)
    for operation in described.get("operation", ()):
        for level in levels_of(operation):
            path = (
                f"/{name}/${operation['name']}" if level == "type" else f"/{name}/{{id}}/${operation['name']}"
            )
            for method, call in _calls(operation, name, [] if level == "type" else [_ID], level):
                yield path, method, call


def levels_of(operation: Tree) -> list[str]:
    """Where an operation of the CapabilityStatement may be called: system, type, instance."""
    return [each["valueCode"] for each in operation["extension"] if each["url"] == OPERATION_LEVEL]


def affects_state(operation: Tree) -> bool:
    """Whether an operation of the CapabilityStatement needs POST."""
    return any(each["valueBoolean"] for each in operation["extension"] if each["url"] == AFFECTS_STATE)


def _calls(
    operation: Tree, resource_type: str | None, parameters: list[Tree], level: str = "system"
) -> Iterator[tuple[str, Tree]]:
    name = f"{level}-{operation['name']}"
    answers: Tree = {
        "200": {
            "description": "the answer",
            "content": {FHIR_JSON: {"schema": {"$ref": SCHEMAS + "Resource"}}},
        },
        "201": {
            "description": "what was made",
            "content": {FHIR_JSON: {"schema": {"$ref": SCHEMAS + "Resource"}}},
        },
        "202": {
            "description": "under way",
            "content": {FHIR_JSON: {"schema": {"$ref": SCHEMAS + "Resource"}}},
        },
    }
    if not affects_state(operation):
        yield "get", _operation(name, resource_type, answers, parameters)
    body = {FHIR_JSON: {"schema": {"$ref": SCHEMAS + "Parameters"}}}
    yield "post", _operation(f"{name}-by-post", resource_type, answers, parameters, body)


def _operation(
    kind: str,
    resource_type: str | None,
    answers: Tree,
    parameters: list[Tree] | None = None,
    body: Tree | None = None,
) -> Tree:
    written: Tree = {
        "operationId": f"{kind}-{resource_type}" if resource_type else kind,
        "tags": [resource_type or "server"],
        "responses": {**answers, "4XX": {"$ref": "#/components/responses/Refused"}},
    }
    if parameters:
        written["parameters"] = parameters
    if body is not None:
        written["requestBody"] = {"required": True, "content": body}
    return written


def _answers(name: str) -> dict[str, Tree]:
    return {"200": {"description": name, "content": _resource(name)}}


def _resource(name: str) -> Tree:
    return {FHIR_JSON: {"schema": {"$ref": SCHEMAS + name}}}


def _queries(schemas: dict[str, Tree]) -> list[Tree]:
    return [{"name": name, "in": "query", "schema": schema} for name, schema in schemas.items()]


def _search_parameters(described: Tree) -> list[Tree]:
    return [
        {"$ref": f"#/components/parameters/{described['type']}.{parameter['name']}"}
        for parameter in described.get("searchParam", ())
    ]


def _parameters_of(resources: list[Tree]) -> Tree:
    """Each search parameter once: searches and conditional writes refer to it."""
    return {
        f"{described['type']}.{parameter['name']}": {
            "name": parameter["name"],
            "in": "query",
            "description": ", ".join(parameter[name] for name in ("type", "definition") if name in parameter),
            "schema": _SEARCHED_TEXT,
        }
        for described in resources
        for parameter in described.get("searchParam", ())
    }


def _header(name: str) -> Tree:
    return {"name": name, "in": "header", "schema": {"type": "string"}}


def _prefer() -> Tree:
    allowed: list[Any] = ["return=representation", "return=minimal", "return=OperationOutcome"]
    return {"name": "Prefer", "in": "header", "schema": {"type": "string", "enum": allowed}}

"""capabilities: `GET [base]/metadata`. See https://hl7.org/fhir/R4/http.html#capabilities.

Each service describes what it has registered at `/peers/capability`; the statement at `/metadata` joins these.
"""

from collections.abc import Iterable
from time import monotonic
from typing import Any, Final

import httpx
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.clinical.codes import CANONICAL
from kanwa_shared.errors import Unavailable
from kanwa_shared.fhir.http import FHIR_JSON, JSON_PATCH, MERGE_PATCH
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search import search_parameters
from kanwa_shared.fhir.search.declared import includes_declared, reverse_includes_declared
from kanwa_shared.fhir.search.definitions import SearchParameter
from kanwa_shared.fhir.validation import RESOURCE_TYPES, official_search_parameters
from kanwa_shared.ownership import owner_of
from kanwa_shared.profiles import profiles_of
from kanwa_shared.rest.engine import Engine
from kanwa_shared.rest.operations.registry import STANDARD, StandardOperation, operations_on
from kanwa_shared.rest.peers import url_of
from kanwa_shared.rest.responses import base_url_of, engine_of, negotiate, tree_response
from kanwa_shared.rest.service import Operation
from kanwa_shared.security.access import PEERS_PREFIX

CAPABILITY_PATH: Final = f"{PEERS_PREFIX}capability"
FHIR_VERSION: Final = "4.0.1"
STATEMENT_DATE: Final = "2026-11-25"
PEERS_REMEMBERED_SECONDS: Final = 60.0  # what a service offers changes with a deployment only

OPERATION_LEVEL: Final = f"{CANONICAL}/StructureDefinition/operation-level"
AFFECTS_STATE: Final = f"{CANONICAL}/StructureDefinition/operation-affects-state"

INTERACTIONS: Final = (
    "create",
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "search-type",
)


async def metadata(request: Request) -> Response:
    """The CapabilityStatement of the one server that all services together are."""
    negotiate(request)
    return tree_response(200, await capability_statement(request))


async def capability_statement(request: Request) -> Tree:
    """What `/metadata` answers. Raises Unavailable while a service has never said what it offers."""
    engine = engine_of(request)
    described = [*_described(engine), *await _peers_described(engine)]
    return _statement(base_url_of(request), described, engine.settings.auth_mode == "jwt")


async def own_capability(request: Request) -> Response:
    """The `rest.resource` entries of this service alone."""
    return Response(msgspec.json.encode(_described(engine_of(request))), media_type="application/json")


def _described(engine: Engine) -> list[Tree]:
    owned = sorted(name for name in RESOURCE_TYPES if owner_of(name) == engine.definition.name)
    return [_resource(engine, name) for name in owned]


def _resource(engine: Engine, resource_type: str) -> Tree:
    described: Tree = {
        "type": resource_type,
        **_supported_profiles(resource_type),
        "interaction": [{"code": code} for code in INTERACTIONS],
        "versioning": "versioned",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "searchParam": [_search_parameter(parameter) for parameter in search_parameters(resource_type)],
        **_includes(engine, resource_type),
    }
    described["operation"] = _operations(operations_on(resource_type, tuple(engine.definition.operations)))
    return {**described, **engine.definition.capabilities.get(resource_type, {})}


def _search_parameter(parameter: SearchParameter) -> Tree:
    """A few parameters are not R4's: nothing stands at the URL that their definition would have."""
    official = official_search_parameters.find(parameter.definition) is not None
    definition = {"definition": parameter.definition} if official else {}
    return {"name": parameter.code, **definition, "type": parameter.type}


def _includes(engine: Engine, resource_type: str) -> Tree:
    """R4: a server that lists no `_include` does not support any."""
    owned = (name for name in RESOURCE_TYPES if owner_of(name) == engine.definition.name)
    held = engine.definition.replicates.union(owned)
    declared: dict[str, tuple[str, ...]] = {
        "searchInclude": includes_declared(resource_type, held),
        "searchRevInclude": reverse_includes_declared(resource_type, held),
    }
    return {name: list(values) for name, values in declared.items() if values}


def _operations(offered: Iterable[Operation | StandardOperation]) -> list[Tree]:
    """One entry for each name: what a type and its instances both have is one operation with two levels."""
    by_name: dict[str, list[Operation | StandardOperation]] = {}
    for operation in offered:
        by_name.setdefault(operation.name, []).append(operation)
    return [_operation(*same) for same in by_name.values()]


def _operation(operation: Operation | StandardOperation, *more: Operation | StandardOperation) -> Tree:
    """R4 leaves to the OperationDefinition where an operation may be called and whether GET will do."""
    levels = [
        level
        for one in (operation, *more)
        for level in (one.levels if isinstance(one, StandardOperation) else (one.level,))
    ]
    return {
        "extension": [
            *({"url": OPERATION_LEVEL, "valueCode": level} for level in levels),
            {"url": AFFECTS_STATE, "valueBoolean": operation.affects_state},
        ],
        "name": operation.name.removeprefix("$"),
        "definition": operation.definition,
    }


def _supported_profiles(resource_type: str) -> Tree:
    profiles = profiles_of(resource_type)
    return {"supportedProfile": list(profiles)} if profiles else {}


async def _peers_described(engine: Engine) -> list[Tree]:
    described: list[Tree] = []
    for name, client in engine.peers.items():
        if name == engine.definition.name:
            continue
        known, at = engine.peers_described.get(name, (None, 0.0))
        if known is None or monotonic() - at > PEERS_REMEMBERED_SECONDS:
            known = await _ask(client, name, known)
            engine.peers_described[name] = (known, monotonic())
        described.extend(known)
    return described


async def _ask(client: httpx.AsyncClient, name: str, known: list[Tree] | None) -> list[Tree]:
    try:
        answer = await client.get(url_of(client, CAPABILITY_PATH))
        answer.raise_for_status()
        return answer.json()
    except httpx.HTTPError as error:
        if known is not None:
            return known
        raise Unavailable(f"{name} does not say what it offers; try again when it runs") from error


def _statement(base_url: str, described: list[Tree], authenticated: bool) -> Tree:
    rest: dict[str, Any] = {
        "mode": "server",
        "resource": sorted(described, key=lambda resource: resource["type"]),
        "interaction": [{"code": code} for code in ("transaction", "batch", "history-system")],
        "operation": [_operation(operation) for operation in STANDARD if operation.offered(None, "system")],
    }
    if authenticated:
        rest["security"] = {
            "cors": False,
            "service": [
                {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                            "code": "SMART-on-FHIR",
                        }
                    ]
                }
            ],
            "description": "SMART Backend Services: bearer JWT (RS384, ES384) with system/* scopes",
        }
    return {
        "resourceType": "CapabilityStatement",
        "id": "kanwa",
        "url": "https://kanwa.example/fhir/CapabilityStatement/kanwa",
        "name": "Kanwa",
        "title": "kanwa: palliative interventional radiology",
        "status": "active",
        "date": STATEMENT_DATE,
        "kind": "instance",
        "software": {"name": "kanwa", "version": "0.1.0"},
        "implementation": {"description": "kanwa FHIR server", "url": base_url},
        "fhirVersion": FHIR_VERSION,
        "format": [FHIR_JSON, "json"],
        "patchFormat": [FHIR_JSON, JSON_PATCH, MERGE_PATCH],
        "rest": [rest],
    }

"""Operations: `POST [base]/[type]{/[id]}/$[name]`. See https://hl7.org/fhir/R4/operations.html."""

from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import Invalid, NotFound, NotSupported
from kanwa_shared.fhir.http import check_content_type
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.engine import Engine, check_id
from kanwa_shared.rest.operations.registry import StandardOperation, standard_operation
from kanwa_shared.rest.responses import (
    engine_of,
    fhir_response,
    negotiate,
    origin_of,
    resource_headers,
    tree_response,
)
from kanwa_shared.rest.service import Context, Level, Operation, OperationRequest, OperationResponse
from kanwa_shared.store.stored import StoredResource


async def operation(request: Request) -> Response:
    """What the operation answers; what it gathered in its change set is committed first."""
    engine, resource_type = engine_of(request), request.path_params["resource_type"]
    engine.check_owned(resource_type)
    negotiate(request)
    id: str | None = request.path_params.get("id")
    if id is not None:
        check_id(id)
    name, level = "$" + request.path_params["operation"], _level(id)
    standard = standard_operation(name, resource_type, level)
    if standard is not None:
        return await _standard(request, standard)
    found = _registered(engine, resource_type, name, level)
    _check_method(request, found)
    call = OperationRequest(await _parameters(request, engine), id)

    async def stage(context: Context) -> tuple[OperationResponse, StoredResource | None]:
        response = await found.handler(call, context)
        return response, context.changes.stored(*response.resource) if response.resource else None

    answer, written = await engine.perform(origin_of(request), stage)
    if written is not None:
        return fhir_response(
            answer.status, written.body or b"", resource_headers(request, written, location=True)
        )
    if answer.tree is None:
        return Response(status_code=answer.status)
    return tree_response(answer.status, answer.tree)


async def system_operation(request: Request) -> Response:
    """An operation on the server as a whole, such as `$meta`."""
    negotiate(request)
    name = "$" + request.path_params["operation"]
    standard = standard_operation(name, None, "system")
    if standard is None:
        raise NotFound(f"the server has no operation {name}", code="not-supported")
    return await _standard(request, standard)


async def _standard(request: Request, found: StandardOperation) -> Response:
    _check_method(request, found)
    return await found.endpoint(request)


def _check_method(request: Request, found: Operation | StandardOperation) -> None:
    if request.method == "GET" and found.affects_state:
        raise NotSupported(f"{found.name} changes the state of the server; call it with POST")


def _level(id: str | None) -> Level:
    return "type" if id is None else "instance"


def _registered(engine: Engine, resource_type: str, name: str, level: Level) -> Operation:
    for candidate in engine.definition.operations:
        if (candidate.resource_type, candidate.name, candidate.level) == (resource_type, name, level):
            return candidate
    raise NotFound(f"{resource_type} has no operation {name} on the {level}", code="not-supported")


async def _parameters(request: Request, engine: Engine) -> Tree:
    if request.method == "GET":
        listed = [{"name": name, "valueString": value} for name, value in request.query_params.multi_items()]
        return (
            {"resourceType": "Parameters", "parameter": listed} if listed else {"resourceType": "Parameters"}
        )
    body = await request.body()
    if not body:
        raise Invalid("the operation needs a Parameters resource in the body", code="required")
    check_content_type(request.headers.get("content-type", ""))
    return await engine.read_body("Parameters", body)

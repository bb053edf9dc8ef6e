"""delete: `DELETE [base]/[type]/[id]`. See https://hl7.org/fhir/R4/http.html#delete."""

from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import Issue
from kanwa_shared.fhir.http import Precondition, etag, preferences
from kanwa_shared.fhir.outcome import outcome_bytes
from kanwa_shared.rest.conditional import caller_of, only_match, pairs_of_url, read_condition
from kanwa_shared.rest.engine import Engine, check_id
from kanwa_shared.rest.fixed import check_not_fixed
from kanwa_shared.rest.precondition import check_precondition, precondition_of
from kanwa_shared.rest.responses import done, engine_of, fhir_response, origin_of
from kanwa_shared.rest.service import Context, WriteRequest
from kanwa_shared.store.stored import StoredResource


async def delete(request: Request) -> Response:
    """204, also when there is nothing to delete; the history stays readable."""
    engine, resource_type, id = (
        engine_of(request),
        request.path_params["resource_type"],
        request.path_params["id"],
    )
    engine.check_owned(resource_type)
    check_id(id)
    check_not_fixed(engine, resource_type, id)
    asked = precondition_of(request)

    async def stage(context: Context) -> StoredResource | None:
        return await stage_delete(engine, context, resource_type, id, asked)

    return _deleted_response(request, await engine.perform(origin_of(request), stage))


async def conditional_delete(request: Request) -> Response:
    """`DELETE [type]?…`: 204 when one resource matched or none did, 412 if several do; then nothing is deleted."""
    engine, resource_type = engine_of(request), request.path_params["resource_type"]
    engine.check_owned(resource_type)
    source = "the URL's search"
    condition = read_condition(resource_type, pairs_of_url(request), source=source, caller=caller_of(request))
    asked = precondition_of(request)

    async def stage(context: Context) -> StoredResource | None:
        found = await only_match(engine, condition, source=source)
        if found is None:
            return None
        check_not_fixed(engine, resource_type, found.id)
        check_precondition(found, resource_type, found.id, asked)
        return await stage_deletion(engine, context, found)

    return _deleted_response(request, await engine.perform(origin_of(request), stage))


def _deleted_response(request: Request, deleted: StoredResource | None) -> Response:
    """204, or 200 for a client that prefers an OperationOutcome."""
    headers = {"ETag": etag(deleted.version)} if deleted else {}
    if preferences(request.headers.get("prefer", "")).returns != "OperationOutcome":
        return Response(status_code=204, headers=headers)
    nothing = Issue("informational", "there was nothing to delete", severity="information")
    return fhir_response(200, outcome_bytes([done(deleted) if deleted else nothing]), headers)


async def stage_delete(
    engine: Engine, context: Context, resource_type: str, id: str, asked: Precondition
) -> StoredResource | None:
    """Add the deletion to the change set; None if there is nothing to delete."""
    current = await engine.store.get(resource_type, id)
    check_precondition(current, resource_type, id, asked)
    return None if current is None else await stage_deletion(engine, context, current)


async def stage_deletion(engine: Engine, context: Context, current: StoredResource) -> StoredResource | None:
    """The same over the version that was read before."""
    if current.deleted:
        return None
    resource_type, id = current.resource_type, current.id
    context.changes.delete(current)
    await engine.apply_rules(WriteRequest("delete", resource_type, id, None, current), context)
    return context.changes.stored(resource_type, id)

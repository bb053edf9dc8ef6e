"""update: `PUT [base]/[type]/[id]`. See https://hl7.org/fhir/R4/http.html#update."""

from typing import Final
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import Conflict, Invalid
from kanwa_shared.fhir.http import Precondition, check_content_type
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search import Search
from kanwa_shared.rest.conditional import caller_of, only_match, pairs_of_url, read_condition
from kanwa_shared.rest.engine import Engine, Origin, check_id
from kanwa_shared.rest.fixed import check_not_fixed
from kanwa_shared.rest.precondition import check_precondition, precondition_of
from kanwa_shared.rest.responses import engine_of, negotiate, origin_of, written_response
from kanwa_shared.rest.service import Context, WriteRequest
from kanwa_shared.store.stored import StoredResource

_CONDITION: Final = "the URL's search"


async def update(request: Request) -> Response:
    """200 with the new version, 201 if the id was free; 412 if `If-Match` names another version."""
    engine, resource_type, id = (
        engine_of(request),
        request.path_params["resource_type"],
        request.path_params["id"],
    )
    engine.check_owned(resource_type)
    negotiate(request)
    check_content_type(request.headers.get("content-type", ""))
    check_id(id)
    asked = precondition_of(request)
    body = await request.body()
    updated = await update_resource(engine, origin_of(request), resource_type, id, body, asked)
    return written_response(request, 201 if updated.interaction == "create" else 200, updated)


async def conditional_update(request: Request) -> Response:
    """`PUT [type]?…`: 200 with the next version of the one resource that matches, 201 if none does, 412 if several.

    Without an id in the body the new resource gets one of ours; with one it is created under it.
    """
    engine, resource_type = engine_of(request), request.path_params["resource_type"]
    engine.check_owned(resource_type)
    negotiate(request)
    check_content_type(request.headers.get("content-type", ""))
    condition = read_condition(
        resource_type, pairs_of_url(request), source=_CONDITION, caller=caller_of(request)
    )
    asked = precondition_of(request)
    body = await request.body()
    tree = await engine.read_body(resource_type, body)

    async def stage(context: Context) -> StoredResource:
        return await _stage_upsert(engine, context, condition, tree, body, asked)

    updated = await engine.perform(origin_of(request), stage)
    return written_response(request, 201 if updated.interaction == "create" else 200, updated)


async def _stage_upsert(
    engine: Engine, context: Context, condition: Search, tree: Tree, body: bytes, asked: Precondition
) -> StoredResource:
    found = await only_match(engine, condition, source=_CONDITION)
    given: str | None = tree.get("id")
    if found is not None and given not in {None, found.id}:
        raise Invalid(
            f"the id in the body is '{given}', and the search finds {found.reference}; they must agree",
            expression=f"{found.resource_type}.id",
            code="invariant",
        )
    id = found.id if found is not None else given or str(uuid4())
    check_not_fixed(engine, condition.resource_type, id)
    if found is not None:
        return await stage_next(engine, context, found, {**tree, "id": id}, id, body, asked)
    context.changes.only_if_none(condition)
    current = await engine.store.get(condition.resource_type, id)
    check_found_or_free(current, None)
    return await stage_next(engine, context, current, {**tree, "id": id}, id, body, asked)


def check_found_or_free(current: StoredResource | None, found: StoredResource | None) -> None:
    """Raise Conflict if a conditional update found nothing and its body's id is that of another resource."""
    if found is None and current is not None and not current.deleted:
        raise Conflict(
            f"{current.reference} exists and is not what the search asks for; leave the id out, or update it by its id",
            expression=f"{current.resource_type}.id",
            code="duplicate",
        )


async def update_resource(
    engine: Engine, origin: Origin, resource_type: str, id: str, body: bytes, asked: Precondition
) -> StoredResource:
    """Write the next version, or the first under a client's id.

    Raises Invalid if the body's id is not `id`, PreconditionFailed if `asked` is not current.
    """
    check_not_fixed(engine, resource_type, id)
    tree = await engine.read_body(resource_type, body)
    if tree.get("id") != id:
        raise Invalid(
            f"the id in the body is '{tree.get('id', '')}', and the URL says '{id}'; they must agree",
            expression=f"{resource_type}.id",
            code="invariant",
        )

    async def stage(context: Context) -> StoredResource:
        return await stage_update(engine, context, tree, id, body, asked)

    return await engine.perform(origin, stage)


async def stage_update(
    engine: Engine, context: Context, tree: Tree, id: str, body: bytes | None, asked: Precondition
) -> StoredResource:
    """Add an update and what the rules make of it to the change set."""
    current = await engine.store.get(tree["resourceType"], id)
    return await stage_next(engine, context, current, tree, id, body, asked)


async def stage_next(
    engine: Engine,
    context: Context,
    current: StoredResource | None,
    tree: Tree,
    id: str,
    body: bytes | None,
    asked: Precondition,
) -> StoredResource:
    """The same over a version that was read before; None creates under `id`."""
    request = put_next(context, current, tree, id, body, asked)
    await engine.apply_rules(request, context)
    written = context.changes.stored(request.resource_type, id)
    assert written is not None  # noqa: S101  # put_next put it there
    return written


def put_next(
    context: Context,
    current: StoredResource | None,
    tree: Tree,
    id: str,
    body: bytes | None,
    asked: Precondition,
) -> WriteRequest:
    """Add the version after `current` to the change set; the rules have not seen it yet."""
    resource_type = tree["resourceType"]
    check_precondition(current, resource_type, id, asked)
    if current is None:
        context.changes.create(tree, id=id, body=body, chosen=True)
    else:
        context.changes.update(current, tree, body=body)
    before = None if current is None or current.deleted else current
    return WriteRequest("update" if before else "create", resource_type, id, tree, before)

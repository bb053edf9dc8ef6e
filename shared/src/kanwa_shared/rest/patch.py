"""patch: `PATCH [base]/[type]/[id]`. See https://hl7.org/fhir/R4/http.html#patch.

What a patch makes of the current version goes the way of an update: profiles, rules and states judge it alike.
"""

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import BusinessRule, Gone, Invalid, NotFound
from kanwa_shared.fhir.http import Precondition, patch_media_type
from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.patching import Patch, read_patch
from kanwa_shared.rest.conditional import caller_of, only_match, pairs_of_url, read_condition
from kanwa_shared.rest.engine import Engine, check_id
from kanwa_shared.rest.fixed import check_not_fixed
from kanwa_shared.rest.precondition import check_precondition, precondition_of
from kanwa_shared.rest.responses import engine_of, negotiate, origin_of, written_response
from kanwa_shared.rest.service import Context
from kanwa_shared.rest.update import stage_next
from kanwa_shared.security.caller import Caller
from kanwa_shared.store.stored import StoredResource

_CONDITION: Final = "the URL's search"


async def patch(request: Request) -> Response:
    """200 with the next version; 404 and 410 as in a read, 412 if `If-Match` names another version."""
    engine, resource_type, id = (
        engine_of(request),
        request.path_params["resource_type"],
        request.path_params["id"],
    )
    engine.check_owned(resource_type)
    negotiate(request)
    check_id(id)
    check_not_fixed(engine, resource_type, id)
    change, asked = await _change(request, engine), precondition_of(request)

    async def stage(context: Context) -> StoredResource:
        current = await engine.store.get(resource_type, id)
        return await stage_patch(engine, context, existing(current, resource_type, id), change, asked)

    shown = may_be_shown(caller_of(request), resource_type)
    return written_response(request, 200, await engine.perform(origin_of(request), stage), shown=shown)


async def conditional_patch(request: Request) -> Response:
    """`PATCH [type]?…`: 200 with the next version of the one match, 404 if nothing matches, 412 if several do."""
    engine, resource_type = engine_of(request), request.path_params["resource_type"]
    engine.check_owned(resource_type)
    negotiate(request)
    condition = read_condition(
        resource_type, pairs_of_url(request), source=_CONDITION, caller=caller_of(request)
    )
    change, asked = await _change(request, engine), precondition_of(request)

    async def stage(context: Context) -> StoredResource:
        found = await only_match(engine, condition, source=_CONDITION)
        if found is None:
            raise NotFound(f"{_CONDITION} finds no {resource_type} to patch")
        check_not_fixed(engine, resource_type, found.id)
        return await stage_patch(engine, context, found, change, asked)

    shown = may_be_shown(caller_of(request), resource_type)
    return written_response(request, 200, await engine.perform(origin_of(request), stage), shown=shown)


def may_be_shown(caller: Caller | None, resource_type: str) -> bool:
    """Whether the caller may see what its patch made: that holds much which it did not send, so it has to read."""
    return caller is None or caller.may(resource_type, "r")


async def _change(request: Request, engine: Engine) -> Patch:
    media_type = patch_media_type(request.headers.get("content-type", ""))
    return read_patch(await request.body(), media_type, max_depth=engine.settings.max_json_depth)


def existing(current: StoredResource | None, resource_type: str, id: str) -> StoredResource:
    """What a part of is to be changed. Raises NotFound, Gone."""
    if current is None:
        raise NotFound(f"there is no {resource_type} with id {id}; a change of a part needs one")
    if current.deleted:
        raise Gone(f"{current.reference} was deleted; a change of a part needs what is there")
    return current


async def stage_patch(
    engine: Engine, context: Context, current: StoredResource, change: Patch, asked: Precondition
) -> StoredResource:
    """Add what the patch makes of `current`, and what the rules make of that, to the change set."""
    check_precondition(current, current.resource_type, current.id, asked)
    tree, text = await patched(engine, current, change)
    return await stage_next(engine, context, current, tree, current.id, text, asked)


async def patched(engine: Engine, current: StoredResource, change: Patch) -> tuple[Tree, bytes]:
    """The next version, judged like a resource that was sent whole, and its text. Raises DomainError."""
    # In a thread whatever the size: what a patch costs does not show in it, and others wait on the event loop.
    text = await asyncio.to_thread(_applied, current, change, max_bytes=engine.settings.max_body_bytes)
    tree = await engine.read_body(current.resource_type, text)
    if tree.get("id") != current.id:
        raise BusinessRule(
            f"the patch changes the id of {current.reference}; leave it as it is",
            expression=f"{current.resource_type}.id",
            code="invariant",
        )
    return tree, text


def _applied(current: StoredResource, change: Patch, *, max_bytes: int) -> bytes:
    try:
        text = dumps(change(current.tree))
    except RecursionError as error:
        raise Invalid("the patch nests the resource too deep", code="too-costly") from error
    if len(text) > max_bytes:
        raise Invalid(f"the patched resource would be larger than {max_bytes} bytes", code="too-long")
    return text

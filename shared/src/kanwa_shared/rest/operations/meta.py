"""$meta, $meta-add and $meta-delete: profiles, tags and security labels.

See https://hl7.org/fhir/R4/resource-operation-meta.html.
"""

from collections.abc import Iterable
from typing import Any, Final, cast

from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import Invalid
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.ownership import SYSTEM_SERVICE
from kanwa_shared.rest.fixed import check_not_fixed
from kanwa_shared.rest.operations.given import only, read_given
from kanwa_shared.rest.patch import existing, stage_patch
from kanwa_shared.rest.peers import ask_others
from kanwa_shared.rest.precondition import check_precondition, precondition_of
from kanwa_shared.rest.responses import engine_of, origin_of, tree_response
from kanwa_shared.rest.service import Context
from kanwa_shared.store.stored import StoredResource

_LISTS: Final = ("profile", "security", "tag")


async def meta(request: Request) -> Response:
    """The instance's meta, or every profile, tag and label that is used in the type or on the server."""
    engine = engine_of(request)
    await read_given(request, frozenset())
    resource_type, id = request.path_params.get("resource_type"), request.path_params.get("id")
    if resource_type is not None and id is not None:
        return _parameters((await engine.store.read(resource_type, id)).tree.get("meta", {}))
    used = await engine.store.used_meta(resource_type)
    if resource_type is None and engine.definition.name == SYSTEM_SERVICE:
        for answer in await ask_others(request, "$meta"):
            for parameter in answer.json().get("parameter", ()):
                used = _joined(used, parameter["valueMeta"])
    return _parameters(used)


async def meta_add(request: Request) -> Response:
    """The instance's meta with what was given added, as its next version."""
    return await _change(request, _joined)


async def meta_delete(request: Request) -> Response:
    """The instance's meta without what was given, as its next version; what it never had is no fault."""
    return await _change(request, _without)


async def _change(request: Request, change: Any) -> Response:
    engine = engine_of(request)
    resource_type, id = request.path_params["resource_type"], request.path_params["id"]
    given = only(await read_given(request, frozenset({"meta"})), "meta")
    if not isinstance(given, dict):
        raise Invalid(
            "send a Parameters resource with the parameter 'meta' (valueMeta)",
            code="required",
            expression="Parameters.parameter",
        )
    check_not_fixed(engine, resource_type, id)
    asked = precondition_of(request)

    async def stage(context: Context) -> StoredResource:
        current = await engine.store.get(resource_type, id)
        there = existing(current, resource_type, id)
        check_precondition(there, resource_type, id, asked)
        before: Tree = there.tree.get("meta", {})
        after = change(before, cast(Tree, given))
        if after == before:
            return there
        # As any other change of a part: a profile that is claimed anew judges the resource.
        return await stage_patch(engine, context, there, lambda tree: {**tree, "meta": after}, asked)

    return _parameters((await engine.perform(origin_of(request), stage)).tree.get("meta", {}))


def _parameters(found: Tree) -> Response:
    parameters: Tree = {"resourceType": "Parameters"}
    if found:
        parameters["parameter"] = [{"name": "return", "valueMeta": found}]
    return tree_response(200, parameters)


def _joined(known: Tree, added: Tree) -> Tree:
    """`known` with what `added` lists and it has not yet; a coding is the same if system and code are."""
    joined = dict(known)
    for name in _LISTS:
        present: list[Any] = list(known.get(name, ()))
        present += [one for one in _distinct(added.get(name, ())) if not _among(one, present)]
        if present:
            joined[name] = present
    return joined


def _without(known: Tree, taken: Tree) -> Tree:
    left = dict(known)
    for name in _LISTS:
        remaining = [one for one in known.get(name, ()) if not _among(one, taken.get(name, ()))]
        if remaining:
            left[name] = remaining
        else:
            left.pop(name, None)
    return left


def _among(one: Any, others: Iterable[Any]) -> bool:
    return any(_key(one) == _key(other) for other in others)


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list({_key(value): value for value in values}.values())


def _key(value: Any) -> tuple[str, str] | str:
    """What tells one profile or coding from another."""
    if isinstance(value, dict):
        coding = cast(Tree, value)
        return (str(coding.get("system", "")), str(coding.get("code", "")))
    return str(value)

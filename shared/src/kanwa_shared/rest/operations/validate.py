"""$validate: would this resource be accepted? See https://hl7.org/fhir/R4/resource-operation-validate.html."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import DomainError, Invalid, Issue
from kanwa_shared.fhir.http import UNCONDITIONAL, check_content_type
from kanwa_shared.fhir.json_text import parse
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.outcome import outcome_bytes
from kanwa_shared.fhir.validation import validate
from kanwa_shared.profiles import claimed_faults, validate_profile
from kanwa_shared.rest.delete import stage_delete
from kanwa_shared.rest.engine import THREAD_ABOVE_BYTES, Engine, refuse_errors
from kanwa_shared.rest.fixed import check_not_fixed
from kanwa_shared.rest.operations.given import Given, of_parameters, of_url, only, refuse_unknown
from kanwa_shared.rest.responses import engine_of, fhir_response, origin_of
from kanwa_shared.rest.service import Context, WriteRequest
from kanwa_shared.rest.update import stage_update

Mode = Literal["create", "update", "delete", "profile"]

_MODES: Final[tuple[Mode, ...]] = ("create", "update", "delete", "profile")
_KNOWN: Final = frozenset({"resource", "mode", "profile"})
_BASE_DEFINITION: Final = "http://hl7.org/fhir/StructureDefinition/"


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be judged: `tree` is None for what is stored, or for a body that could not be read at all."""

    resource_type: str
    id: str | None
    tree: Tree | None
    body: bytes | None
    mode: Mode | None
    profiles: tuple[str, ...]


async def validate_resource(request: Request) -> Response:
    """200 with an OperationOutcome: every fault of the resource with its FHIRPath, or one issue that says all is well.

    400 is for a call that cannot be carried out: no resource, an unknown mode or parameter.
    """
    engine = engine_of(request)
    try:
        question = await _question(request, engine)
    except _Unreadable as fault:
        return fhir_response(200, outcome_bytes(fault.issues))
    issues = await _faults(question, request, engine)
    return fhir_response(200, outcome_bytes(issues or [_all_is_well(question)]))


class _Unreadable(DomainError):
    """The body is not JSON that a resource could be: a fault of what is judged, not of the call."""


async def _question(request: Request, engine: Engine) -> Question:
    given = of_url(request)
    body = await request.body() if request.method == "POST" else b""
    tree: Tree | None = None
    own_text: bytes | None = None
    if body:
        check_content_type(request.headers.get("content-type", ""))
        try:
            tree = parse(body, max_depth=engine.settings.max_json_depth)
        except DomainError as fault:
            raise _Unreadable(fault.issues) from fault
        own_text = body
        if tree.get("resourceType") == "Parameters" and _wraps(tree, request.path_params["resource_type"]):
            given, tree = _unwrapped(tree, given)
            own_text = None
    refuse_unknown(given, _KNOWN)
    return _read(request, given, tree, own_text)


def _read(request: Request, given: Given, tree: Tree | None, body: bytes | None) -> Question:
    resource_type, id = request.path_params["resource_type"], request.path_params.get("id")
    asked = only(given, "mode")
    mode: Mode | None = next((known for known in _MODES if known == asked), None)
    if asked is not None and mode is None:
        raise Invalid(f"mode={asked} is unknown; it is one of {', '.join(_MODES)}", code="value")
    profiles = tuple(str(url) for url in given.get("profile", ()))
    if mode == "profile" and not profiles:
        raise Invalid("mode=profile needs the parameter profile", code="required")
    if mode in {"update", "delete"} and id is None:
        raise Invalid(f"mode={mode} is asked of an instance: [type]/[id]/$validate", code="required")
    if tree is None and id is None:
        raise Invalid("send the resource, or a Parameters resource with it under 'resource'", code="required")
    return Question(resource_type, id, tree, body, mode, profiles)


def _wraps(tree: Tree, resource_type: str) -> bool:
    """Whether a Parameters resource carries the call; one that is itself to be judged has no `resource` in it."""
    return resource_type != "Parameters" or any(_carries(each) for each in _written(tree))


def _written(tree: Tree) -> list[Any]:
    written = tree.get("parameter")
    return cast("list[Any]", written) if isinstance(written, list) else []


def _carries(parameter: Any) -> bool:
    if not isinstance(parameter, dict):
        return False
    members = cast(Tree, parameter)
    return members.get("name") == "resource" and isinstance(members.get("resource"), dict)


def _unwrapped(tree: Tree, given: Given) -> tuple[Given, Tree | None]:
    """The call's parameters and its resource, which is judged by itself: its faults are no faults of the call."""
    carrying = [each for each in _written(tree) if _carries(each)]
    rest = {**tree, "parameter": [each for each in _written(tree) if not _carries(each)]}
    if not rest["parameter"]:
        del rest["parameter"]
    refuse_errors(validate(rest))
    for name, values in of_parameters(rest).items():
        given.setdefault(name, []).extend(values)
    if len(carrying) > 1:
        raise Invalid("one resource is judged at a time; send it under 'resource' once", code="value")
    return given, carrying[0]["resource"] if carrying else None


async def _faults(question: Question, request: Request, engine: Engine) -> list[Issue]:
    tree, body = question.tree, question.body
    if tree is None:
        stored = await engine.store.read(question.resource_type, question.id or "")
        tree, body = stored.tree, stored.body
    if question.mode != "delete":
        if body is None or len(body) > THREAD_ABOVE_BYTES:  # of a wrapped resource the size is not known
            issues = await asyncio.to_thread(_judge, tree, body, question)
        else:
            issues = _judge(tree, body, question)
        if any(issue.severity in {"error", "fatal"} for issue in issues):
            return issues
    else:
        issues = []
    return [*issues, *await _refusals(question, tree, engine, request)]


def _judge(tree: Tree, body: bytes | None, question: Question) -> list[Issue]:
    """Faults against base R4, then against the profiles that the resource claims and those that were asked for."""
    found = tree.get("resourceType")
    if found != question.resource_type:
        text = f"resourceType is '{found}', and the URL says {question.resource_type}; they must agree"
        return [Issue("invalid", text, ("resourceType",))]
    issues = validate(tree, body)
    if any(issue.severity in {"error", "fatal"} for issue in issues):
        return issues
    issues = [*issues, *claimed_faults(tree)]
    claimed: list[Any] = tree.get("meta", {}).get("profile", [])
    for url in question.profiles:
        if url.partition("|")[0] != _BASE_DEFINITION + question.resource_type and url not in claimed:
            issues += validate_profile(tree, url)
    return issues


async def _refusals(question: Question, tree: Tree, engine: Engine, request: Request) -> list[Issue]:
    """What the service's rules say to the write that `mode` names; nothing of it is committed."""
    resource_type, id, mode = question.resource_type, question.id, question.mode

    async def create(context: Context) -> None:
        new_id = context.changes.create(tree)
        await engine.apply_rules(WriteRequest("create", resource_type, new_id, tree, None), context)

    async def update(context: Context) -> None:
        check_not_fixed(engine, resource_type, id or "")
        if tree.get("id") != id:
            text = f"the id in the body is '{tree.get('id', '')}', and the URL says '{id}'; they must agree"
            raise Invalid(text, expression=f"{resource_type}.id", code="invariant")
        await stage_update(engine, context, tree, id or "", None, UNCONDITIONAL)

    async def delete(context: Context) -> None:
        check_not_fixed(engine, resource_type, id or "")
        await stage_delete(engine, context, resource_type, id or "", UNCONDITIONAL)

    writes: dict[Mode | None, Callable[[Context], Awaitable[None]]] = {
        "create": create, "update": update, "delete": delete,
    }  # fmt: skip
    stage = writes.get(mode)
    if stage is None:
        return []
    try:
        await stage(engine.context(origin_of(request)))
    except DomainError as refusal:
        return list(refusal.issues)
    return []


def _all_is_well(question: Question) -> Issue:
    against = ", ".join(question.profiles) or "base R4 and the profiles that it claims"
    would = (
        f"; {question.mode} would be accepted now" if question.mode in {"create", "update", "delete"} else ""
    )
    return Issue("informational", f"no fault found against {against}{would}", severity="information")

"""The page of one case: dossier, outcome, timeline, and the form for the decision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kanwa_mdt.application.decide import DecisionForm, DecisionNotWritten, write_decision
from kanwa_mdt.domain.case import Case
from kanwa_mdt.domain.fact import Fact
from kanwa_mdt.domain.references import relative
from kanwa_mdt.domain.stage import OPEN_TASK
from kanwa_mdt.domain.timeline import describe
from kanwa_mdt.store import cases, facts, log
from kanwa_mdt.web.access import page, refuse_foreign_form, token_of
from kanwa_mdt.web.board import label_of, labels_of
from kanwa_mdt.web.curve import curve
from kanwa_mdt.web.forms import read_form
from kanwa_mdt.web.state import BoardState, Connection, state_of
from kanwa_shared.clock import utc_now
from kanwa_shared.fhir.json_text import parse
from kanwa_shared.messaging.envelope import Event

TIMELINE_MAX: Final = 300
PEOPLE_MAX: Final = 60
RATIONALE_MAX: Final = 4000
_PEOPLE_TYPES: Final = ("PractitionerRole", "Practitioner")


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline."""

    time: datetime
    title: str
    detail: str
    resource: str
    version: int
    position: int


@dataclass(frozen=True, slots=True)
class CaseView:
    """What the page shows beside the case; `people` are (reference, name) of who may have taken part."""

    case: Case
    labels: Mapping[str, str]
    timeline: Sequence[Moment]
    people: Sequence[tuple[str, str]]
    position: int


async def show_case(request: Request) -> Response:
    """GET /cases/{id}: 404 while no event has told of the case."""
    view = await _view(request)
    return _page(request, view, _empty_form(view.case), [], 200)


async def decide(request: Request) -> Response:
    """POST /cases/{id}/decision: write the decision over FHIR, then show the case.

    A refusal is shown on the page in words, with what was entered still in the form.
    """
    refuse_foreign_form(request)
    state, form = state_of(request), _read_form(await read_form(request))
    try:
        await write_decision(form, state.fhir.with_token(token_of(request)), now=utc_now())
    except DecisionNotWritten as refusal:
        view = await _view(request)
        return _page(request, view, _with_version_of(form, view.case), refusal.problems, refusal.status)
    return RedirectResponse(f"/cases/{request.path_params['id']}?recorded=1", 303)


async def _view(request: Request) -> CaseView:
    async with state_of(request).pool.connection() as connection:
        case = await cases.find(connection, request.path_params["id"])
        if case is None:
            raise HTTPException(
                404, "There is no case with this id. It may be on its way: try again in a moment."
            )
        position = await log.last_position(connection)
        rows = await log.read_timeline(connection, case.members, TIMELINE_MAX)
        return CaseView(
            case,
            await labels_of(connection, [case]),
            [_moment(row) for row in rows],
            await _people(connection),
            position,
        )


def _page(
    request: Request, view: CaseView, form: DecisionForm, problems: Sequence[str], status: int
) -> Response:
    state: BoardState = state_of(request)
    html = state.rendering.page(
        "case.html",
        view=view,
        case=view.case,
        labels=view.labels,
        curves=[curve(series) for series in view.case.series],
        form=form,
        problems=problems,
        recorded=request.query_params.get("recorded") == "1" and not problems,
        decidable=view.case.mdt is not None and view.case.mdt.status in OPEN_TASK,
        next_step=state.rendering.next_step(view.case, view.labels, utc_now()),
        now=utc_now(),
        signed_in=state.signs_in,
    )
    return page(html, status)


def _moment(row: tuple[int, str, int, datetime, str]) -> Moment:
    position, resource, version, time, envelope = row
    body = Event.from_cloudevent(envelope.encode()).body
    title, detail = describe(resource.partition("/")[0], version, None if body is None else parse(body))
    return Moment(time, title, detail, resource, version, position)


async def _people(connection: Connection) -> list[tuple[str, str]]:
    """Who can be ticked as having taken part: roles first, then practitioners that no role stands for."""
    known = await facts.named_like(connection, _PEOPLE_TYPES, 2 * PEOPLE_MAX)
    named: dict[str, tuple[str, str]] = {}
    practitioners = {fact.reference: label_of(fact) for fact in known if fact.resource_type == "Practitioner"}
    for fact in sorted(known, key=lambda f: (f.resource_type != "PractitionerRole", f.reference)):
        who = _practitioner(fact)
        name = practitioners.get(who) or label_of(fact)
        if name and who not in named:
            named[who] = (fact.reference, name)
    return sorted(named.values(), key=lambda entry: entry[1])[:PEOPLE_MAX]


def _practitioner(fact: Fact) -> str:
    return relative(fact.tree.get("practitioner", {}).get("reference")) or fact.reference


def _empty_form(case: Case) -> DecisionForm:
    return DecisionForm(case.mdt.id, case.mdt.version) if case.mdt else DecisionForm("", 0)


def _with_version_of(form: DecisionForm, case: Case) -> DecisionForm:
    """What was entered, against the Task as it is now: recording it again decides on what is shown."""
    if case.mdt is None:
        return form
    return DecisionForm(
        case.mdt.id,
        max(case.mdt.version, form.version),
        form.decision,
        form.rationale,
        form.participants,
        form.guests,
    )


def _read_form(data: FormData) -> DecisionForm:
    guests = _text(data, "guests").replace(";", "\n").splitlines()
    version = _text(data, "version")
    task = f"Task/{_text(data, 'task')}"
    return DecisionForm(
        task=task.partition("/")[2] if relative(task) else "",
        version=int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0,
        decision=_text(data, "decision"),
        rationale=_text(data, "rationale")[:RATIONALE_MAX],
        participants=tuple(r for r in map(relative, map(str, data.getlist("participant"))) if r),
        guests=tuple(name.strip() for name in guests if name.strip()),
    )


def _text(data: FormData, name: str) -> str:
    value: Any = data.get(name, "")
    return value.strip() if isinstance(value, str) else ""

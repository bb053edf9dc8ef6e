"""The MDT's decision, written back as any FHIR client would: read the Task, complete it, PUT with If-Match."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, cast

import httpx

from kanwa_mdt.domain.related import is_approval
from kanwa_shared.clinical import codes
from kanwa_shared.errors import DomainError, Unparsable
from kanwa_shared.fhir.json_text import dumps, instant, parse
from kanwa_shared.fhir.json_types import Tree

DECISIONS: Final = ("recommended", "alternative", "deferred", "not-indicated")
_OPEN: Final = frozenset({"requested", "received", "in-progress", "accepted", "ready", "on-hold"})
_FHIR: Final = "application/fhir+json"


@dataclass(frozen=True, slots=True)
class DecisionForm:
    """What was entered. `version` is the Task's that the page showed; guests have a name only."""

    task: str
    version: int
    decision: str = ""
    rationale: str = ""
    participants: tuple[str, ...] = ()
    guests: tuple[str, ...] = ()


class DecisionNotWritten(Exception):  # named as the page says it
    """The decision was not written; `problems` say why, in the words of somebody at the meeting.

    `status` is the HTTP status of the page that shows them.
    """

    def __init__(self, status: int, problems: list[str]):
        super().__init__("; ".join(problems))
        self.status = status
        self.problems = problems


@dataclass(frozen=True, slots=True)
class FhirServer:
    """Where Tasks are read and written; `client` has no base URL and follows no redirects."""

    client: httpx.AsyncClient
    url: str
    headers: dict[str, str] = field(default_factory=dict[str, str])

    def with_token(self, token: str | None) -> "FhirServer":
        """The same server, asked in the caller's name."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return FhirServer(self.client, self.url, headers)


async def write_decision(form: DecisionForm, server: FhirServer, *, now: datetime) -> None:
    """Complete the MDT Task with the decision. Raises DecisionNotWritten; nothing is written then.

    The Task is taken as the server has it, decimals and unknown extensions too, and only what the decision
    changes is changed. The server refuses it if somebody else wrote the Task meanwhile.
    """
    _refuse_incomplete(form)
    task = await _read(form, server)
    decided = decided_task(task, form, now=now)
    headers = {**server.headers, "content-type": _FHIR, "accept": _FHIR, "if-match": f'W/"{form.version}"'}
    answer = await _send(server, "PUT", form.task, headers, dumps(decided))
    if not answer.is_success:
        raise _refusal(answer)


def decided_task(task: Tree, form: DecisionForm, *, now: datetime) -> Tree:
    """The Task, completed, with the outputs that the loop reads. `now` becomes Task.lastModified."""
    outputs: list[Tree] = [
        {
            "type": codes.concept(codes.TASK_OUTPUT, "decision"),
            "valueCodeableConcept": codes.concept(codes.MDT_DECISION, form.decision),
        },
        {"type": codes.concept(codes.TASK_OUTPUT, "rationale"), "valueString": form.rationale},
    ]
    people: list[Tree] = [{"reference": reference} for reference in form.participants]
    people += [{"display": name} for name in form.guests]
    outputs += [
        {"type": codes.concept(codes.TASK_OUTPUT, "participant"), "valueReference": who} for who in people
    ]
    return {
        **task,
        "status": "completed",
        "lastModified": instant(now),
        "output": [*task.get("output", []), *outputs],
    }


def _refuse_incomplete(form: DecisionForm) -> None:
    problems: list[str] = []
    if form.decision not in DECISIONS:
        problems.append("Choose a decision.")
    if not form.rationale:
        problems.append("Say why: the rationale goes to the referrer.")
    if problems:
        raise DecisionNotWritten(422, problems)


async def _read(form: DecisionForm, server: FhirServer) -> Tree:
    answer = await _send(server, "GET", form.task, {**server.headers, "accept": _FHIR})
    if not answer.is_success:
        raise _refusal(answer)
    try:
        task = parse(answer.content)
    except Unparsable:
        raise DecisionNotWritten(
            502, ["The FHIR server answered with something that is no FHIR resource."]
        ) from None
    status = str(task.get("status", ""))
    if not is_approval(task):
        raise DecisionNotWritten(409, ["This Task is not one that asks the MDT for a decision."])
    if status not in _OPEN:
        raise DecisionNotWritten(409, [f"This case has been decided already: its MDT Task is {status}."])
    if str(task.get("meta", {}).get("versionId", "")) != str(form.version):
        raise DecisionNotWritten(412, [_CHANGED])
    return task


async def _send(
    server: FhirServer, method: str, task: str, headers: dict[str, str], body: bytes | None = None
) -> httpx.Response:
    try:
        return await server.client.request(method, f"{server.url}/Task/{task}", headers=headers, content=body)
    except httpx.HTTPError:
        problem = "The FHIR server does not answer. Nothing was written; your text is kept here. Try again."
        raise DecisionNotWritten(503, [problem]) from None


_CHANGED: Final = (
    "Somebody changed this case while you were writing. Nothing was written and your text is kept: look at "
    "what changed, then record the decision again."
)


def _refusal(answer: httpx.Response) -> DecisionNotWritten:
    said = _diagnostics(answer)
    match answer.status_code:
        case 412:
            return DecisionNotWritten(412, [_CHANGED])
        case 409:
            return DecisionNotWritten(409, ["The case is in a state that this decision does not fit.", *said])
        case 400 | 422:
            return DecisionNotWritten(422, ["The FHIR server refused the decision.", *said])
        case 401 | 403:
            return DecisionNotWritten(
                403, ["You are not allowed to record decisions. Sign in as a member of the MDT."]
            )
        case 404 | 410:
            return DecisionNotWritten(404, ["The MDT Task of this case is not there any more.", *said])
        case status:
            problem = (
                f"The FHIR server failed (HTTP {status}). Nothing was written; your text is kept. Try again."
            )
            return DecisionNotWritten(502, [problem, *said])


def _diagnostics(answer: httpx.Response) -> list[str]:
    """What the OperationOutcome says, if the answer is one."""
    try:
        issues: Any = parse(answer.content).get("issue", [])
    except DomainError:
        return []
    listed = cast("list[Tree]", issues) if isinstance(issues, list) else []
    return [str(issue["diagnostics"]) for issue in listed if "diagnostics" in issue]

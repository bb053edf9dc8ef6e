"""The decision as it is written into the MDT Task, and the refusals in words."""

from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from kanwa_mdt.application.decide import DecisionForm, DecisionNotWritten, FhirServer, write_decision
from kanwa_shared.fhir.json_text import parse

NOW = datetime(2026, 3, 2, 15, 4, 5, tzinfo=UTC)
TASK = b"""{"resourceType": "Task", "id": "t1", "meta": {"versionId": "3"}, "status": "requested", "intent": "order",
 "code": {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "approve"}]},
 "extension": [{"url": "https://hospital.example/weight", "valueDecimal": 1.50}], "_status": {"id": "s"},
 "output": [{"type": {"text": "agenda"}, "valueString": "Item 4"}]}"""
FORM = DecisionForm(
    "t1", 3, "recommended", "Pain leads.", ("Practitioner/sato",), ("Dr. Guest", "Nurse Guest")
)

Answer = Callable[[httpx.Request], httpx.Response]


def server(answer: Answer) -> FhirServer:
    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return FhirServer(client, "http://fhir.example/fhir").with_token("the-token")


def answering(put: httpx.Response, seen: list[httpx.Request] | None = None, task: bytes = TASK) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        return httpx.Response(200, content=task) if request.method == "GET" else put

    return answer


async def test_the_decision_is_put_with_the_version_that_was_shown_and_in_the_callers_name() -> None:
    seen: list[httpx.Request] = []
    await write_decision(FORM, server(answering(httpx.Response(200), seen)), now=NOW)
    read, put = seen
    assert (read.method, put.method, put.url.path) == ("GET", "PUT", "/fhir/Task/t1")
    assert put.headers["if-match"] == 'W/"3"'
    assert {request.headers["authorization"] for request in seen} == {"Bearer the-token"}


async def test_only_status_time_and_outputs_change_and_every_digit_stays() -> None:
    seen: list[httpx.Request] = []
    await write_decision(FORM, server(answering(httpx.Response(200), seen)), now=NOW)
    written = parse(seen[1].content)
    assert b'"valueDecimal":1.50' in seen[1].content
    before = parse(TASK)
    assert {name: written[name] for name in before if name not in {"status", "output"}} == {
        name: before[name] for name in before if name not in {"status", "output"}
    }
    assert (written["status"], written["lastModified"]) == ("completed", "2026-03-02T15:04:05.000Z")
    assert written["output"][0] == before["output"][0]


async def test_the_outputs_are_those_that_the_loop_reads() -> None:
    seen: list[httpx.Request] = []
    await write_decision(FORM, server(answering(httpx.Response(200), seen)), now=NOW)
    base = "https://kanwa.example/fhir/CodeSystem"
    outputs = [
        (o["type"]["coding"][0]["system"], o["type"]["coding"][0]["code"], {k: v for k, v in o.items() if k != "type"})
        for o in parse(seen[1].content)["output"][1:]
    ]  # fmt: skip
    decision = outputs[0][2]["valueCodeableConcept"]["coding"][0]
    assert [(system, code) for system, code, _ in outputs] == [
        (f"{base}/task-output", code)
        for code in ("decision", "rationale", "participant", "participant", "participant")
    ]
    assert (decision["system"], decision["code"]) == (f"{base}/mdt-decision", "recommended")
    assert outputs[1][2] == {"valueString": "Pain leads."}
    assert outputs[2][2] == {"valueReference": {"reference": "Practitioner/sato"}}
    assert outputs[3][2] == {"valueReference": {"display": "Dr. Guest"}}


def refusal(status: int, diagnostics: str) -> httpx.Response:
    issue = {"severity": "error", "code": "business-rule", "diagnostics": diagnostics}
    return httpx.Response(status, json={"resourceType": "OperationOutcome", "issue": [issue]})


@pytest.mark.parametrize(
    ("put", "status", "words"),
    [
        (httpx.Response(412), 412, "Somebody changed this case"),
        (refusal(409, "It is closed."), 409, "It is closed."),
        (refusal(422, "Name a role."), 422, "Name a role."),
        (httpx.Response(403), 403, "not allowed"),
        (httpx.Response(404), 404, "not there any more"),
        (httpx.Response(503, text="<html>"), 502, "Nothing was written"),
    ],
)  # fmt: skip
async def test_a_refusal_is_told_in_words(put: httpx.Response, status: int, words: str) -> None:
    with pytest.raises(DecisionNotWritten) as refused:
        await write_decision(FORM, server(answering(put)), now=NOW)
    assert refused.value.status == status
    assert words in " ".join(refused.value.problems)


@pytest.mark.parametrize(
    ("task", "status"),
    [
        (TASK.replace(b'"versionId": "3"', b'"versionId": "4"'), 412),
        (TASK.replace(b'"requested"', b'"completed"'), 409),
        (TASK.replace(b'"approve"', b'"fulfill"'), 409),
        (b"no json", 502),
    ],
)
async def test_a_task_that_is_not_as_it_was_shown_is_not_written(task: bytes, status: int) -> None:
    seen: list[httpx.Request] = []
    with pytest.raises(DecisionNotWritten) as refused:
        await write_decision(FORM, server(answering(httpx.Response(200), seen, task)), now=NOW)
    assert refused.value.status == status
    assert [request.method for request in seen] == ["GET"]


@pytest.mark.parametrize(
    ("form", "problems"),
    [
        (DecisionForm("t1", 3, "", "Why."), 1),
        (DecisionForm("t1", 3, "recommended", ""), 1),
        (DecisionForm("t1", 3, "maybe", ""), 2),
    ],
)
async def test_an_incomplete_form_asks_nobody(form: DecisionForm, problems: int) -> None:
    seen: list[httpx.Request] = []
    with pytest.raises(DecisionNotWritten) as refused:
        await write_decision(form, server(answering(httpx.Response(200), seen)), now=NOW)
    assert (refused.value.status, len(refused.value.problems), seen) == (422, problems, [])


async def test_a_server_that_does_not_answer_is_told_in_words() -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(DecisionNotWritten) as refused:
        await write_decision(FORM, server(away), now=NOW)
    assert refused.value.status == 503

"""One referral of each procedure group goes all the way, in both ways of running kanwa."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest

from kanwa.demo.cases import CASES, Case
from kanwa.demo.drive import Driver, Progress, StepFailed
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.messaging.asyncapi import document
from tests.support.broker_probe import Probe
from tests.support.deployment import Deployment, embedded_deployment, process_deployment
from tests.support.event_contracts import check_event
from tests.support.waiting import until

GROUPS = {
    "pain": "vertebroplasty",
    "drainage": "paracentesis",
    "stent": "biliary-stent",
    "bleeding": "emergency-embolization",
}
BY_PROCEDURE = {case.procedure: case for case in CASES}
CONTRACT = document()
JSON = {"content-type": "application/fhir+json"}


@pytest.fixture(scope="module", params=["embedded", "processes"])
def deployment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    if request.param == "embedded":
        folder: Path = tmp_path_factory.mktemp("kanwa")
        with embedded_deployment(folder, request.getfixturevalue("module_free_port")()) as running:
            yield running
        return
    with process_deployment(
        request.getfixturevalue("module_database"),
        request.getfixturevalue("module_amqp_url"),
        request.getfixturevalue("module_redis_url"),
        request.getfixturevalue("module_free_port"),
        tmp_path_factory.mktemp("logs"),
    ) as running:
        asyncio.run(running.seed())
        yield running


async def entries(client: httpx.AsyncClient, resource_type: str, **query: str) -> list[dict[str, Any]]:
    answer = await client.get(resource_type, params={name.replace("_", "-"): v for name, v in query.items()})
    assert answer.status_code == 200, answer.text
    return [entry["resource"] for entry in answer.json().get("entry", [])]


async def on_board(board: httpx.AsyncClient, reference: str, stage: str) -> float:
    """Seconds until the board shows the case in a column."""
    started = monotonic()
    id = reference.removeprefix("ServiceRequest/")

    async def shown() -> bool:
        columns = (await board.get("/board/columns")).text
        column = columns.partition(f'data-stage="{stage}"')[2].partition("</section>")[0]
        return f'data-case="{id}"' in column

    await until(shown, deadline_seconds=10, what=f"{reference} under {stage}")
    return monotonic() - started


STAGE_AFTER = {
    "refer": "awaiting-mdt",
    "decide": "accepted",
    "book": "booked",
    "perform": "follow-up",
    "close": "closed",
}


@pytest.mark.parametrize("procedure", GROUPS.values(), ids=GROUPS.keys())
async def test_a_case_of_each_group_is_closed_and_the_board_shows_each_step(
    deployment: Deployment, procedure: str
) -> None:
    case = BY_PROCEDURE[procedure]
    async with deployment.fhir() as client, deployment.board() as board:
        driver, progress = Driver(client), Progress(case)
        for step in ("refer", "decide", "book", "perform", "measure", "close"):
            await getattr(driver, step)(progress)
            stage = STAGE_AFTER.get(step)
            if case.priority == "stat" and step in {"refer", "decide"}:
                stage = "accepted"
            if stage is not None:
                await on_board(board, progress.service_request, stage)
        await _assert_closed(client, progress)


async def _assert_closed(client: httpx.AsyncClient, progress: Progress) -> None:
    [task] = await entries(client, "Task", focus=progress.service_request, code="fulfill")
    assert codes.has_coding(task["businessStatus"], codes.BUSINESS_STATUS, "7.0")
    outputs = {output["type"]["coding"][0]["code"] for output in task["output"]}
    assert {"procedure", "summary"} <= outputs
    [appointment] = await entries(client, "Appointment", based_on=progress.service_request)
    assert appointment["status"] == "fulfilled"
    follow_up = await entries(
        client, "Task", based_on=progress.service_request, code=f"{codes.TASK}|follow-up"
    )
    assert follow_up
    derived = [
        observation
        for observation in await entries(client, "Observation", subject=progress.patient["reference"])
        if observation["code"]["coding"][0].get("system") == codes.OUTCOME
    ]
    assert derived
    if progress.case.procedure == "vertebroplasty":
        [response] = [d for d in derived if codes.has_coding(d["code"], codes.OUTCOME, "jivrosg-response")]
        assert codes.has_coding(response["valueCodeableConcept"], codes.JIVROSG_RESPONSE, "SE")
        assert len(response["derivedFrom"]) == 2
    if progress.case.priority != "stat":
        [plan] = await entries(client, "CarePlan", subject=progress.patient["reference"])
        assert plan["activity"] == [{"reference": {"reference": progress.service_request}}]


async def test_an_emergency_waits_for_nobody_and_is_reviewed_afterwards(deployment: Deployment) -> None:
    async with deployment.fhir() as client:
        driver, progress = Driver(client), Progress(BY_PROCEDURE["emergency-embolization"])
        await driver.refer(progress)
        [task] = await entries(client, "Task", focus=progress.service_request, code="fulfill")
        [review] = await entries(client, "Task", focus=progress.service_request, code="approve")
    assert task["status"] == "accepted"
    assert review["status"] == "requested"
    assert review["partOf"] == [{"reference": f"Task/{task['id']}"}]


async def test_one_time_is_not_booked_twice(deployment: Deployment) -> None:
    case = BY_PROCEDURE["vertebroplasty"]
    async with deployment.fhir() as client:
        driver = Driver(client)
        first, second = Progress(case), Progress(case)
        for progress in (first, second):
            await driver.refer(progress)
            await driver.decide(progress)
        proposals = [await _proposals(client, progress) for progress in (first, second)]
        # The same actors at the same time are offered to both; both want it.
        wanted = [found[0] for found in proposals]
        assert wanted[0]["start"] == wanted[1]["start"]
        answers = await asyncio.gather(*(_book(client, proposal) for proposal in wanted))
    assert sorted(answer.status_code for answer in answers)[-1] == 409
    [refused] = [answer for answer in answers if answer.status_code == 409]
    assert refused.json()["issue"][0]["code"] == "conflict"


async def _proposals(client: httpx.AsyncClient, progress: Progress) -> list[dict[str, Any]]:
    parameters = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "based-on", "valueReference": {"reference": progress.service_request}},
            {"name": "start", "valueDateTime": "2026-01-01T00:00:00Z"},
            {"name": "end", "valueDateTime": "2036-01-01T00:00:00Z"},
        ],
    }
    answer = await client.post("Appointment/$find", content=dumps(parameters), headers=JSON)
    assert answer.status_code == 200, answer.text
    return [entry["resource"] for entry in answer.json()["entry"]]


async def _book(client: httpx.AsyncClient, proposal: dict[str, Any]) -> httpx.Response:
    wanted = {
        "resourceType": "Parameters",
        "parameter": [{"name": "appt-resource", "resource": proposal}],
    }
    return await client.post("Appointment/$book", content=dumps(wanted), headers=JSON)


async def test_a_patient_without_pain_is_not_referred_for_vertebroplasty(deployment: Deployment) -> None:
    from datetime import UTC, datetime

    from kanwa.demo.cases import referral

    case = Case("vertebroplasty", "Low", "Pain", "1950-01-01", "Metastasis", "2", "0")
    async with deployment.fhir() as client:
        answer = await client.post("", content=dumps(referral(case, datetime.now(UTC))), headers=JSON)
        patients = await entries(client, "Patient", family="Low")
    assert answer.status_code == 422, answer.text
    assert "baseline pain 2" in answer.json()["issue"][0]["diagnostics"]
    assert patients == []


async def test_events_keep_the_order_of_versions_and_leave_no_gap(deployment: Deployment) -> None:
    versions: dict[str, list[int]] = defaultdict(list)
    sequences: dict[str, list[int]] = defaultdict(list)
    async with deployment.fhir() as client:
        await Driver(client).drive(BY_PROCEDURE["paracentesis"])
    async for event in _log(deployment):
        resource, _, version = event["subject"].partition("/_history/")
        versions[resource].append(int(version))
        sequences[event["source"]].append(event["sequence"])
    assert versions
    for resource, seen in versions.items():
        assert seen == list(range(1, len(seen) + 1)), resource
    for source, numbers in sequences.items():
        assert sorted(numbers) == list(range(1, len(numbers) + 1)), source


async def _log(deployment: Deployment) -> Any:
    """Every event that the board's stream replays from its beginning, until it is quiet."""
    async with (
        httpx.AsyncClient(base_url=deployment.addresses["mdt"], timeout=3) as client,
        client.stream("GET", "/events", params={"after": "0"}) as stream,
    ):
        try:
            async for line in stream.aiter_lines():
                if line.startswith("data:") and line.removeprefix("data:").strip().startswith("{"):
                    yield json.loads(line.removeprefix("data:"))
        except httpx.ReadTimeout:
            return


async def test_workers_compare_with_the_sources_logs_and_take_nothing_late_for_missing(
    deployment: Deployment,
) -> None:
    """No process was killed yet, so nothing was lost."""
    workers = [name for name in deployment.processes if name.endswith("-worker")]

    async def counted(metric: str) -> dict[tuple[str, str], float]:
        """The metric's value by worker and labels."""
        values: dict[tuple[str, str], float] = {}
        for name in workers:
            port = deployment.commands[name][1]["KANWA_PORT"]
            async with httpx.AsyncClient(timeout=5) as client:
                text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
            for line in text.splitlines():
                labels, _, value = line.rpartition(" ")
                if labels.startswith(f"{metric}{{"):
                    values[name, labels] = float(value)
        return values

    async with deployment.fhir() as client:
        await Driver(client).drive(BY_PROCEDURE["paracentesis"])
    looks = await counted("kanwa_gap_checks_total")
    failed = await counted("kanwa_gap_checks_failed_total")
    assert {name for name, _ in looks} == set(workers)

    async def looked_again() -> bool:
        now = await counted("kanwa_gap_checks_total")
        return all(now[pair] >= looks[pair] + 3 for pair in looks)

    await until(looked_again, deadline_seconds=60, what="three looks of each worker at each source")
    assert await counted("kanwa_gap_checks_failed_total") == failed
    assert sum((await counted("kanwa_event_gaps_total")).values()) == 0


#: Words of a case that nothing else says.
MARKED = replace(
    BY_PROCEDURE["vertebroplasty"],
    family="Zyxqwvut",
    given="Qorvalith",
    birth_date="1931-05-17",
    diagnosis="Xylofracticum",
    rationale="Vexillium",
)


@pytest.mark.parametrize("deployment", ["processes"], indirect=True, scope="module")
async def test_patient_data_leaves_neither_by_notifications_nor_headers_nor_routing_keys_nor_logs(
    deployment: Deployment,
) -> None:
    words = [MARKED.family, MARKED.given, MARKED.birth_date, MARKED.diagnosis, MARKED.rationale]
    probe = Probe(deployment.commands["intake-worker"][1]["KANWA_AMQP_URL"])
    async with deployment.fhir() as client:
        # A search for a patient is a place where a log could tell.
        progress = await Driver(client).drive(MARKED)
        (patient,) = await entries(client, "Patient", name=MARKED.family, birthdate=MARKED.birth_date)
        await client.get(f"Patient/{MARKED.family}")
        await client.post("Patient", json={"resourceType": "Patient", "birthDate": f"{MARKED.birth_date}x"})
    words.append(patient["identifier"][0]["value"])
    events, notifications = await asyncio.to_thread(probe.drain)
    for told in (events, notifications):
        assert progress.service_request in {event["subject"].partition("/_history/")[0] for _, event in told}
    assert any(word in json.dumps(event) for _, event in events for word in words)
    for wrapping, event in events:
        check_event(event, event["type"], CONTRACT)
        assert not [word for word in words if word in wrapping]
    for wrapping, event in notifications:
        check_event(event, "notification", CONTRACT)
        assert not [word for word in words if word in wrapping + json.dumps(event)]
    assert deployment.logs is not None
    logs = {path.name: path.read_text() for path in deployment.logs.iterdir()}
    assert logs.keys() == {f"{name}.log" for name in deployment.processes}
    assert "relay_active" in logs["intake-worker.log"]
    for name, text in logs.items():
        assert not [word for word in words if word in text], name


KILLED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("refer", ("intake-api", "outcomes-worker")),
    ("decide", ("intake-worker", "mdt-worker")),
    ("book", ("scheduling-api", "scheduling-worker")),
    ("perform", ("outcomes-api", "mdt-api")),
)


async def test_the_loop_closes_although_every_process_is_killed_once(deployment: Deployment) -> None:
    case = BY_PROCEDURE["vertebroplasty"]
    kills = dict(KILLED)
    async with deployment.fhir() as client:
        driver, progress = Driver(client), Progress(case)
        for step in ("refer", "decide", "book", "perform", "measure", "close"):
            await _patiently(lambda s=step: getattr(driver, s)(progress))
            names = (
                kills.get(step, ()) if len(deployment.processes) > 1 else ("kanwa",) if step == "book" else ()
            )
            for name in names:
                deployment.kill_and_restart(name)
            await _answering(deployment)
        await _assert_closed(client, progress)
        procedures = await entries(client, "Procedure", based_on=progress.service_request)
        summaries = await entries(client, "DocumentReference", related=progress.service_request)
    assert len(procedures) == 1
    assert len(summaries) == 1


async def _patiently(step: Callable[[], Awaitable[None]]) -> None:
    """Take a step again while what was killed catches up: scheduling refuses what it has not heard of yet."""

    async def done() -> bool:
        try:
            await step()
        except StepFailed as failure:
            raise AssertionError(str(failure)) from failure
        return True

    await until(done, deadline_seconds=90, interval_seconds=0.5, what="the step")


async def _answering(deployment: Deployment) -> None:
    async def well() -> bool:
        async with httpx.AsyncClient(timeout=5) as client:
            for address in set(deployment.addresses.values()):
                try:
                    if (await client.get(f"{address}/health")).status_code != 200:
                        return False
                except httpx.HTTPError:
                    return False
        return True

    await until(well, deadline_seconds=90, what="every process")

"""One case through the loop, by the calls that a hospital's own systems make."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final

import httpx

from kanwa.demo.cases import Case, measurement, referral
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.json_text import dumps, parse

Tree = dict[str, Any]

STEPS: Final = ("refer", "decide", "book", "perform", "measure", "close")
PATIENCE_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.1
CONFLICT: Final = 409
JSON: Final = {"content-type": "application/fhir+json"}


class StepFailed(Exception):
    """The server did not do what the loop promises; the message says which call and what came back."""


@dataclass(slots=True)
class Progress:
    """What is known of a case on its way; values are references and resources as last read."""

    case: Case
    service_request: str = ""
    patient: Tree = field(default_factory=dict[str, Any])
    appointment: Tree = field(default_factory=dict[str, Any])
    procedure: Tree = field(default_factory=dict[str, Any])


class Driver:
    """Drives cases over a FHIR client whose base URL is `…/fhir/`; for `referrer` see `referral`."""

    def __init__(self, client: httpx.AsyncClient, referrer: str | None = None):
        self._client = client
        self._referrer = referrer

    async def drive(self, case: Case, *, pause: Callable[[], Awaitable[None]] | None = None) -> Progress:
        """Take `case` through its steps, with a `pause` after each. Raises StepFailed."""
        progress = Progress(case)
        for step in STEPS:
            await getattr(self, step)(progress)
            if step == case.stop_after:
                break
            if pause is not None:
                await pause()
        return progress

    async def refer(self, progress: Progress) -> None:
        """Post the referral."""
        answer = await self._post("", referral(progress.case, datetime.now(UTC), self._referrer), 200)
        locations = [entry["response"]["location"] for entry in answer["entry"]]
        reference = {path.split("/")[-4]: "/".join(path.split("/")[-4:-2]) for path in locations}
        progress.service_request = reference["ServiceRequest"]
        progress.patient = {"reference": reference["Patient"]}

    async def decide(self, progress: Progress) -> None:
        """Record the MDT's decision; an emergency does not wait for it."""
        if progress.case.priority == "stat":
            return
        task = await self._await_one(
            "Task", focus=progress.service_request, code="approve", status="requested"
        )
        task["status"] = "completed"
        task["output"] = [
            {
                "type": codes.concept(codes.TASK_OUTPUT, "decision"),
                "valueCodeableConcept": codes.concept(codes.MDT_DECISION, progress.case.decision),
            },
            {"type": codes.concept(codes.TASK_OUTPUT, "rationale"), "valueString": progress.case.rationale},
        ]
        await self._put(task)

    async def book(self, progress: Progress) -> None:
        """Find the best time and book it."""
        start = datetime.now(UTC)
        parameters = {
            "resourceType": "Parameters",
            "parameter": [
                {"name": "based-on", "valueReference": {"reference": progress.service_request}},
                {"name": "start", "valueDateTime": start.isoformat(timespec="seconds")},
                {"name": "end", "valueDateTime": (start + timedelta(days=14)).isoformat(timespec="seconds")},
            ],
        }
        found = await self._post("Appointment/$find", parameters, 200)
        for proposed in (e["resource"] for e in found.get("entry", []) if e["search"]["mode"] == "match"):
            wanted = {
                "resourceType": "Parameters",
                "parameter": [{"name": "appt-resource", "resource": proposed}],
            }
            answer = await self._client.post("Appointment/$book", content=dumps(wanted), headers=JSON)
            if answer.is_success:
                progress.appointment = parse(answer.content)
                return
            if answer.status_code != CONFLICT:
                raise StepFailed(f"$book answered {answer.status_code}: {answer.text}")
        raise StepFailed(f"no time was found for {progress.service_request}")

    async def perform(self, progress: Progress) -> None:
        """Do the procedure at the booked time."""
        procedure = await self._await_one("Procedure", based_on=progress.service_request)
        procedure["status"] = "in-progress"
        procedure = await self._put(procedure)
        procedure["status"] = "completed"
        procedure["performedPeriod"] = {
            "start": progress.appointment["start"],
            "end": progress.appointment["end"],
        }
        progress.procedure = await self._put(procedure)

    async def measure(self, progress: Progress) -> None:
        """Send the primary measure on the day on which it is due."""
        end = datetime.fromisoformat(progress.procedure["performedPeriod"]["end"])
        effective = end + timedelta(days=7)
        reference = f"Procedure/{progress.procedure['id']}"
        tree = measurement(progress.case, progress.case.outcome, progress.patient, reference, effective)
        await self._post("Observation", tree, 201)

    async def close(self, progress: Progress) -> None:
        """Wait until kanwa has closed the loop."""
        await self._await_one("Task", focus=progress.service_request, code="fulfill", status="completed")
        request = await self._get(progress.service_request)
        if request["status"] != "completed":
            raise StepFailed(f"{progress.service_request} is {request['status']}, not completed")

    async def _await_one(self, resource_type: str, **parameters: str) -> Tree:
        query = {name.replace("_", "-"): value for name, value in parameters.items()}
        deadline = monotonic() + PATIENCE_SECONDS
        while monotonic() < deadline:
            answer = await self._client.get(resource_type, params=query)
            if not answer.is_success:
                raise StepFailed(f"GET {answer.url} answered {answer.status_code}: {answer.text}")
            entries = parse(answer.content).get("entry", [])
            if entries:
                return entries[0]["resource"]
            await asyncio.sleep(POLL_SECONDS)
        raise StepFailed(f"{resource_type} with {query} did not appear within {PATIENCE_SECONDS} s")

    async def _get(self, reference: str) -> Tree:
        return self._resource(await self._client.get(reference), 200)

    async def _post(self, url: str, tree: Tree, expected: int) -> Tree:
        return self._resource(await self._client.post(url, content=dumps(tree), headers=JSON), expected)

    async def _put(self, tree: Tree) -> Tree:
        headers = {**JSON, "if-match": f'W/"{tree["meta"]["versionId"]}"'}
        url = f"{tree['resourceType']}/{tree['id']}"
        return self._resource(await self._client.put(url, content=dumps(tree), headers=headers), 200)

    @staticmethod
    def _resource(answer: httpx.Response, expected: int) -> Tree:
        if answer.status_code != expected:
            request = answer.request
            raise StepFailed(f"{request.method} {request.url} answered {answer.status_code}: {answer.text}")
        return parse(answer.content)

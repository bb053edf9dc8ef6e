"""One referral through the loop by a client that does not give up: a step looks first whether it was done."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from kanwa.demo.cases import Case
from kanwa.demo.drive import JSON, STEPS, Driver, Progress, StepFailed
from kanwa_shared.fhir.json_text import dumps, parse
from tests.chaos.evidence import Tree

RETRY_SECONDS = 0.5
#: How far ahead times are looked for: all that is seeded.
DAYS_AHEAD = 27


class GaveUp(Exception):
    """A step did not succeed within its time."""


class PersistentDriver(Driver):
    """A driver whose steps may be taken again after an answer that was lost."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        super().__init__(client)
        self._http = client

    async def take(self, progress: Progress, until: float) -> str:
        """All steps, each again and again; gives the ServiceRequest. Raises GaveUp after `until` (monotonic)."""
        for step in STEPS:
            await persistently(
                lambda s=step: getattr(self, s)(progress), until, f"{step} {progress.service_request}"
            )
        return progress.service_request

    async def refer(self, progress: Progress) -> None:
        """A second referral after a lost answer is another one; this client goes on with that."""
        if not progress.service_request:
            await super().refer(progress)

    async def decide(self, progress: Progress) -> None:
        if progress.case.priority == "stat":
            return
        tasks = await self.found("Task", focus=progress.service_request, code="approve")
        if not any(task["status"] == "completed" for task in tasks):
            await super().decide(progress)

    async def book(self, progress: Progress) -> None:
        booked = await self._booked(progress)
        if booked is None:
            for proposed in await self.proposals(progress):
                answer = await self.post_appointment("$book", proposed)
                if answer.is_success:
                    booked = parse(answer.content)
                    break
                booked = await self._booked(progress)
                if booked is not None:
                    break
        if booked is None:
            raise StepFailed(f"no time was booked for {progress.service_request}")
        progress.appointment = booked

    async def perform(self, progress: Progress) -> None:
        procedure = await self._await_one("Procedure", based_on=progress.service_request)
        if procedure["status"] == "completed":
            progress.procedure = procedure
        else:
            await super().perform(progress)

    async def close(self, progress: Progress) -> None:
        tasks = await self.found("Task", focus=progress.service_request, code="fulfill")
        if not any(task["status"] == "completed" for task in tasks):
            raise StepFailed(f"{progress.service_request} is not closed")

    async def proposals(self, progress: Progress) -> list[Tree]:
        """What $find offers, best first."""
        start = datetime.now(UTC)
        end = start + timedelta(days=DAYS_AHEAD)
        parameters: list[Tree] = [
            {"name": "based-on", "valueReference": {"reference": progress.service_request}},
            {"name": "start", "valueDateTime": start.isoformat(timespec="seconds")},
            {"name": "end", "valueDateTime": end.isoformat(timespec="seconds")},
        ]
        answer = await self._http.post(
            "Appointment/$find",
            content=dumps({"resourceType": "Parameters", "parameter": parameters}),
            headers=JSON,
        )
        if not answer.is_success:
            raise StepFailed(f"$find answered {answer.status_code}: {answer.text}")
        found = [entry["resource"] for entry in parse(answer.content).get("entry", [])]
        return [tree for tree in found if tree["resourceType"] == "Appointment"]

    async def post_appointment(self, operation: str, appointment: Tree) -> httpx.Response:
        """$hold or $book."""
        wanted: Tree = {
            "resourceType": "Parameters",
            "parameter": [{"name": "appt-resource", "resource": appointment}],
        }
        return await self._http.post(f"Appointment/{operation}", content=dumps(wanted), headers=JSON)

    async def found(self, resource_type: str, **query: str) -> list[Tree]:
        """What a search finds."""
        asked = {name.replace("_", "-"): value for name, value in query.items()}
        answer = await self._http.get(resource_type, params=asked)
        if not answer.is_success:
            raise StepFailed(f"GET {answer.url} answered {answer.status_code}: {answer.text}")
        return [entry["resource"] for entry in parse(answer.content).get("entry", [])]

    async def _booked(self, progress: Progress) -> Tree | None:
        appointments = await self.found("Appointment", based_on=progress.service_request)
        return next((tree for tree in appointments if tree["status"] in {"booked", "fulfilled"}), None)


async def persistently(step: Callable[[], Awaitable[Any]], until: float, what: str) -> None:
    """Take a step again after each failure. Raises GaveUp after `until` (monotonic)."""
    while True:
        try:
            await step()
        except (StepFailed, httpx.HTTPError) as failure:
            if time.monotonic() > until:
                raise GaveUp(f"{what}: {failure!r}") from failure
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


def another(case: Case, family: str) -> Progress:
    """The same case of another patient, from its beginning."""
    return Progress(replace(case, family=family))

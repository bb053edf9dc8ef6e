"""The demonstration: a dozen cases, begun one after the other, each at its own pace."""

import asyncio
from collections.abc import Callable
from typing import Final

import httpx

from kanwa.demo.cases import CASES, REFERRER, Case
from kanwa.demo.drive import JSON, Driver, StepFailed
from kanwa_shared.fhir.json_text import dumps

BETWEEN_CASES_SECONDS: Final = 1.5
BETWEEN_STEPS_SECONDS: Final = 4.0
REFERRER_ID: Final = "demo-referrer"


async def show_cases(client: httpx.AsyncClient, tell: Callable[[str], None]) -> None:
    """Drive every example case; a case that fails is told and does not stop the others.

    Raises httpx.HTTPError if the server does not take the one who refers them.
    """
    reference = f"Practitioner/{REFERRER_ID}"
    answer = await client.put(reference, content=dumps({**REFERRER, "id": REFERRER_ID}), headers=JSON)
    answer.raise_for_status()
    tell(f"{len(CASES)} example cases are on their way: watch the board.")
    driver = Driver(client, reference)

    async def pause() -> None:
        await asyncio.sleep(BETWEEN_STEPS_SECONDS)

    async def show(case: Case, after: float) -> None:
        await asyncio.sleep(after)
        try:
            await driver.drive(case, pause=pause)
        except StepFailed as failure:
            tell(f"{case.procedure}: {failure}")

    await asyncio.gather(*(show(case, number * BETWEEN_CASES_SECONDS) for number, case in enumerate(CASES)))

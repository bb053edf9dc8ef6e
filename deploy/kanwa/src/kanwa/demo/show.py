"""The demonstration: a dozen cases, begun one after the other, each at its own pace."""

import asyncio
from collections.abc import Callable
from typing import Final

import httpx

from kanwa.demo.cases import CASES, Case
from kanwa.demo.drive import Driver, StepFailed

BETWEEN_CASES_SECONDS: Final = 1.5
BETWEEN_STEPS_SECONDS: Final = 4.0


async def show_cases(client: httpx.AsyncClient, tell: Callable[[str], None]) -> None:
    """Drive every example case; a case that fails is told and does not stop the others."""
    tell(f"{len(CASES)} example cases are on their way: watch the board.")
    driver = Driver(client)

    async def pause() -> None:
        await asyncio.sleep(BETWEEN_STEPS_SECONDS)

    async def show(case: Case, after: float) -> None:
        await asyncio.sleep(after)
        try:
            await driver.drive(case, pause=pause)
        except StepFailed as failure:
            tell(f"{case.procedure}: {failure}")

    await asyncio.gather(*(show(case, number * BETWEEN_CASES_SECONDS) for number, case in enumerate(CASES)))

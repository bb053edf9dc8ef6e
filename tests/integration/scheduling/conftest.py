"""The scheduling service over a fresh database."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import kanwa_scheduling
from tests.support.scheduling import Scheduling, running


@pytest.fixture
def scheduling_database(database: Callable[..., str]) -> str:
    """The URL of a fresh database with scheduling's tables."""
    return database(Path(kanwa_scheduling.__file__).parent / "migrations")


@pytest.fixture
async def scheduling(scheduling_database: str) -> AsyncIterator[Scheduling]:
    """The service with no resources in it."""
    async with running(scheduling_database) as service:
        yield service


@pytest.fixture
async def hospital(scheduling: Scheduling) -> Scheduling:
    """The service with one suite, one operator and one accepted referral `r`."""
    await scheduling.small_hospital()
    await scheduling.referral()
    return scheduling

"""Intake in this process, and a subscriber that listens."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import kanwa_intake
from tests.support.intake_service import Intake, intake
from tests.support.subscriber import Subscriber, subscriber


@pytest.fixture
def intake_database(database: Callable[..., str]) -> str:
    return database(Path(kanwa_intake.__file__).parent / "migrations")


@pytest.fixture
async def service(intake_database: str) -> AsyncIterator[Intake]:
    async with intake(intake_database) as running:
        yield running


@pytest.fixture
async def listening(free_port: Callable[[], int]) -> AsyncIterator[Subscriber]:
    async with subscriber(free_port()) as running:
        yield running

"""The outcomes service over a fresh database."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import kanwa_outcomes
from tests.support.outcomes_service import Outcomes, running


@pytest.fixture
async def outcomes(database: Callable[..., str]) -> AsyncIterator[Outcomes]:
    """The service with no resources in it."""
    async with running(database(Path(kanwa_outcomes.__file__).parent / "migrations")) as service:
        yield service

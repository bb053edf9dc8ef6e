"""A connection to an empty database with the store's tables."""

from collections.abc import AsyncIterator, Callable

import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from kanwa_shared.fhir.search import execution, pages


@pytest.fixture
def database_url(database: Callable[..., str]) -> str:
    return database()


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[AsyncConnection[TupleRow]]:
    async with await AsyncConnection.connect(database_url, autocommit=True) as connected:
        yield connected


@pytest.fixture(params=["few", "many"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The number of matches that are found before they are put in order: as it is, then so low that all have more."""
    if request.param == "many":
        monkeypatch.setattr(pages, "FEW", 1)
        monkeypatch.setattr(execution, "FEW", 1)
    return pages.FEW

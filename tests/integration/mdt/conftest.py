"""A board's database, its handler and its server process."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis

from kanwa_mdt.service import MIGRATIONS, MdtSettings, create_app, event_handler
from kanwa_shared.messaging.envelope import EventHandler
from kanwa_shared.store.pool import open_pool
from tests.support.mdt_server import served


@pytest.fixture
def mdt_database(database: Callable[..., str]) -> str:
    return database(MIGRATIONS)


@pytest.fixture
async def pool(mdt_database: str) -> AsyncIterator[AsyncConnectionPool[Any]]:
    async with open_pool(mdt_database, max_size=8) as opened:
        yield opened


@pytest.fixture
async def handler(pool: AsyncConnectionPool[Any], redis_url: str) -> AsyncIterator[EventHandler]:
    redis = Redis.from_url(redis_url)
    yield event_handler(pool, redis)
    await redis.aclose()


@pytest.fixture
def settings(mdt_database: str, redis_url: str) -> MdtSettings:
    return MdtSettings(
        database_url=mdt_database,
        redis_url=redis_url,
        auth_mode="open",
        heartbeat_seconds=0.5,
        database_pool_max=4,
    )


@pytest.fixture
async def board_url(settings: MdtSettings, free_port: Callable[[], int]) -> AsyncIterator[str]:
    """A board that runs."""
    async with served(create_app(settings), free_port()) as url:
        yield url


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=10.0) as opened:
        yield opened

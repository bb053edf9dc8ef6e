"""The pool gets over a restart of PostgreSQL with one failure, not with one for each connection."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import psycopg
import pytest

from kanwa_shared.store.pool import Pool, open_pool
from tests.support.waiting import until

CONNECTIONS = 5


async def open_all(pool: Pool) -> list[int]:
    """Use all connections at once; gives the ids of their server processes."""
    async with AsyncExitStack() as stack:
        borrowed = [await stack.enter_async_context(pool.connection()) for _ in range(CONNECTIONS)]
        await asyncio.gather(*(connection.execute("SELECT 1") for connection in borrowed))
        return [connection.info.backend_pid for connection in borrowed]


async def test_one_broken_connection_has_all_idle_ones_replaced(database: Callable[..., str]) -> None:
    url = database()
    async with open_pool(url, max_size=CONNECTIONS) as pool:
        lost = await open_all(pool)
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as administrator:
            await administrator.execute("SELECT pg_terminate_backend(p) FROM unnest(%s::int[]) AS p", (lost,))

            async def gone() -> bool:
                cursor = await administrator.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)", (lost,)
                )
                return (await cursor.fetchone() or (1,))[0] == 0

            await until(gone)
        with pytest.raises(psycopg.OperationalError):
            async with pool.connection() as connection:
                await connection.execute("SELECT 1")
        await until(lambda: pool.get_stats().get("connections_lost", 0) >= CONNECTIONS - 1)
        assert not set(await open_all(pool)) & set(lost)

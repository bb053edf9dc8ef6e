"""Connections to a service's database."""

import asyncio
from contextlib import suppress

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed


class Pool(AsyncConnectionPool[AsyncConnection[TupleRow]]):
    """Looks at every idle connection as soon as one comes back broken.

    A restart of PostgreSQL breaks them all at once, and each would fail one more request, however long ago it was.
    """

    _looking: asyncio.Task[None] | None = None

    async def putconn(self, conn: AsyncConnection[TupleRow]) -> None:
        """Take a connection back; see the class."""
        broken = conn.closed
        await super().putconn(conn)
        if broken and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(self._look(), name="check of the pool's connections")

    async def _look(self) -> None:
        with suppress(PoolClosed):
            await self.check()


def open_pool(database_url: str, *, max_size: int) -> Pool:
    """A pool that is not opened yet; connections are in autocommit mode, so one statement is one commit."""
    return Pool(
        database_url,
        min_size=1,
        max_size=max_size,
        open=False,
        # Compiling a search page's plan, or starting workers for it, takes PostgreSQL longer than running it.
        kwargs={"autocommit": True, "options": "-c jit=off -c max_parallel_workers_per_gather=0"},
    )

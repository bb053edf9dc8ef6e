"""Change sets that only create resources, committed together while other commits are under way.

Each alone would be a transaction of its own; several in one cost PostgreSQL a third less CPU and one flush to disk. A
commit never waits for others to come: it goes at once unless as many as `IN_FLIGHT` are under way.

An id that a client chose may be in another commit that is under way, and one of the two waits for the other. A set with
such an id commits alone: it would make everybody in its batch, and who comes after it, wait too.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final, LiteralString

from psycopg import AsyncConnection
from psycopg import errors as pg
from psycopg.rows import TupleRow

from kanwa_shared.store.changes import ChangeSet
from kanwa_shared.store.commit import COMMIT, refusal
from kanwa_shared.store.pool import Pool

COMMIT_TOGETHER: Final[LiteralString] = (
    "SELECT commit_changes(one.changes) FROM jsonb_array_elements(%s::jsonb) AS one (changes)"
)

IN_FLIGHT: Final = 1
"""Transactions at a time: the next batch gathers while PostgreSQL works on this one. With two the batches are half as
long, and a referral costs PostgreSQL more."""

TOGETHER_MOST: Final = 16
TOGETHER_CHARACTERS: Final = 500_000
"""A batch ends with as many change sets, or with the one that reaches this length."""


def may_go_together(changes: ChangeSet) -> bool:
    """Whether the set only creates, reads nothing, and has no id that another commit may be creating."""
    return not (changes.received or changes.statements or changes.absent or changes.chosen) and all(
        write.version == 1 and not write.replica for write in changes.writes.values()
    )


@dataclass(slots=True, eq=False)
class _Waiting:
    argument: str
    done: asyncio.Future[None]


class GroupCommit:
    """The creating commits of one store; all calls come from one event loop."""

    def __init__(self, pool: Pool):
        self._pool = pool
        self._waiting: deque[_Waiting] = deque()
        self._in_flight = 0
        self._flights: set[asyncio.Task[None]] = set()

    async def commit(self, argument: str) -> None:
        """Commit one encoded change set, alone or with others; return when it is on disk.

        Each stands or falls by itself: a refusal is raised to the one whose set was refused. Raises what
        `kanwa_shared.store.commit.commit` raises.
        """
        mine = _Waiting(argument, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        if self._in_flight < IN_FLIGHT:
            self._in_flight += 1
            flight = asyncio.create_task(self._fly())
            self._flights.add(flight)
            flight.add_done_callback(self._flights.discard)
        await mine.done

    async def _fly(self) -> None:
        try:
            while self._waiting:
                batch = self._next_batch()
                try:
                    async with self._pool.connection() as connection:
                        await _commit_batch(connection, batch)
                except Exception as error:
                    for one in batch:
                        _settle(one, error)
        finally:
            # In the same turn as the last look at what waits: whoever comes later starts a flight of its own. A task
            # that has ended counts as running for one turn more, and would leave behind who comes in that turn.
            self._in_flight -= 1

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        length = 0
        while self._waiting and len(batch) < TOGETHER_MOST and length < TOGETHER_CHARACTERS:
            batch.append(self._waiting.popleft())
            length += len(batch[-1].argument)
        return batch


async def _commit_batch(connection: AsyncConnection[TupleRow], batch: list[_Waiting]) -> None:
    if len(batch) > 1:
        try:
            together = f"[{','.join(one.argument for one in batch)}]"
            await connection.execute(COMMIT_TOGETHER, (together,))
        except pg.Error as error:
            if connection.closed:
                raise refusal(error, connection) from error
            # Nothing of the batch was written; one by one it turns out whose set was refused.
        else:
            for one in batch:
                _settle(one)
            return
    for one in batch:
        try:
            await connection.execute(COMMIT, (one.argument,))
        except pg.Error as error:
            _settle(one, refusal(error, connection))
        else:
            _settle(one)


def _settle(one: _Waiting, error: Exception | None = None) -> None:
    """Tell the caller, unless it has gone or knows already."""
    if one.done.done():
        return
    if error is None:
        one.done.set_result(None)
    else:
        one.done.set_exception(error)

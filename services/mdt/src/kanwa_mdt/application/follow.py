"""The end of the log, kept in memory for readers that are up to date; the others read pages from the database."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import structlog
from psycopg import Error as DatabaseError
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError

from kanwa_mdt.application.project import Poke, Pool
from kanwa_mdt.store import log
from kanwa_mdt.store.log import Filter, LogRow
from kanwa_shared.errors import Gone

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

_log = structlog.get_logger(__name__)

CHANNEL: Final = "kanwa.mdt.log"
#: How stale a reader may get while Redis is away.
POLL_SECONDS: Final = 1.0
#: While pokes arrive this only covers one that was lost with a connection.
POLL_WITH_REDIS_SECONDS: Final = 2.0
RECENT_ROWS: Final = 1024
RECENT_CHARACTERS: Final = 32_000_000
#: Several growths in so short a time wake the readers once; each waking costs every reader a write.
GATHER_SECONDS: Final = 0.02
_EVERYTHING: Final = Filter()


def poker(redis: "Redis | None") -> Poke:
    """Tells every process that the log has grown; that Redis is away is no reason to fail: readers poll."""

    async def poke(position: int) -> None:
        if redis is not None:
            with suppress(RedisError, OSError):
                await redis.publish(CHANNEL, str(position))  # pyright: ignore[reportUnknownMemberType]  # redis leaves it untyped

    return poke


class Tail:
    """Follows the log for all readers of this process with one query for each growth.

    It holds the newest rows only, and each row once however many readers there are.
    """

    def __init__(self, pool: Pool, redis: "Redis | None"):
        self._pool = pool
        self._redis = redis
        self._recent: deque[LogRow] = deque()
        self._characters = 0
        self._grown = asyncio.Event()
        self.position = 0
        self.has_redis = False
        self.ended = False

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Tail"]:
        """Follow the log as long as the block runs. Raises what the database raises at the first look."""
        async with self._pool.connection() as connection:
            self.position = await log.last_position(connection)
        task = asyncio.create_task(self._follow(), name="event log tail")
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def read(self, after: int, wanted: Filter) -> tuple[Sequence[LogRow], int]:
        """Rows after a position that `wanted` wants, and the position up to which was read."""
        if after >= self.position:
            return (), after
        if self._recent and self._recent[0].position <= after + 1:
            newer = [row for row in self._recent if row.position > after]
            return [row for row in newer if wanted.wants(row)], newer[-1].position
        async with self._pool.connection() as connection:
            return await log.read_after(connection, after, wanted)

    async def last(self) -> int:
        """The end of the log as it is now; this process may not have read up to it yet."""
        async with self._pool.connection() as connection:
            return await log.last_position(connection)

    async def within(self, position: int) -> int:
        """Where to go on; a position beyond the end is of another log, so everything of this one is new.

        Position 0 asks for what is there, as far as it is kept. Raises Gone for another one after which the log
        is not complete any more.
        """
        async with self._pool.connection() as connection:
            complete_after, last = await log.extent(connection)
        if 0 < position < complete_after:
            raise Gone(
                f"events after {position} are not all kept any more; begin with after=0, which gives the newest version"
                f" of everything and each event after {complete_after}, and forget what you know",
            )
        return position if position <= last else 0

    async def grown(self, beyond: int) -> None:
        """Wait until the log goes beyond a position, or readers are to go."""
        while self.position <= beyond and not self.ended:
            await self._grown.wait()

    def end(self) -> None:
        """Send the readers away: a server that waits for its connections to close can't stop before."""
        self.ended = True
        self._wake()

    async def catch_up(self) -> None:
        """Read what was appended since the last look."""
        async with self._pool.connection() as connection:
            while True:
                rows, position = await log.read_after(connection, self.position, _EVERYTHING)
                self._remember(rows)
                if position == self.position:
                    return
                self.position = position
                self._wake()

    def _remember(self, rows: Sequence[LogRow]) -> None:
        """Keep the newest rows, bounded in number and in size."""
        self._recent.extend(rows)
        self._characters += sum(len(row.envelope) for row in rows)
        while len(self._recent) > RECENT_ROWS or self._characters > RECENT_CHARACTERS:
            self._characters -= len(self._recent.popleft().envelope)

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    async def _follow(self) -> None:
        while True:
            try:
                await self._follow_with_redis()
            except (RedisError, OSError) as error:
                self.has_redis = False
                _log.warning("log_followed_without_redis", kind=type(error).__name__)
            await self._look()
            await asyncio.sleep(POLL_SECONDS)

    async def _follow_with_redis(self) -> None:
        if self._redis is None:
            return
        async with self._redis.pubsub() as pubsub:  # pyright: ignore[reportUnknownMemberType]  # redis leaves it untyped
            await pubsub.subscribe(CHANNEL)
            self.has_redis = True
            while True:
                # Look once after subscribing as well: what was appended before it poked nobody here.
                await self._look()
                await asyncio.sleep(GATHER_SECONDS)
                await _poked(pubsub)

    async def _look(self) -> None:
        try:
            await self.catch_up()
        except (DatabaseError, PoolTimeout) as error:
            _log.warning("log_not_read", kind=type(error).__name__)
            await asyncio.sleep(POLL_SECONDS)


async def _poked(pubsub: "PubSub") -> None:
    """Return at the next poke, or after a while without; several pokes count as one."""
    wait_seconds = POLL_WITH_REDIS_SECONDS
    while await pubsub.get_message(ignore_subscribe_messages=True, timeout=wait_seconds) is not None:
        wait_seconds = 0.0

"""One active relay per source: an advisory lock whose session is also the relay's only way to write.

A relay that lost the lock has lost the session with it, so it can't number or mark anything any more: no
fencing token is needed. What it had sent already arrives as a duplicate with the same event id.
"""

import asyncio
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final, get_args

from psycopg import AsyncConnection, sql
from psycopg.rows import scalar_row

from kanwa_shared.ownership import ServiceName
from kanwa_shared.timed_wait import set_within

#: Longer than any healthy pause of the relay: a stopped process (SIGSTOP, a paused virtual machine) keeps its
#: TCP connection, so it is the server that must end its session for others to take over.
LEASE_SECONDS: Final = 15
STANDBY_POLL_SECONDS: Final = 0.5
_LOCK_SPACE: Final = zlib.crc32(b"kanwa relay") - 2**31


@asynccontextmanager
async def source_lease(
    conninfo: str, service: str, stop: asyncio.Event, *, lease_seconds: int = LEASE_SECONDS
) -> AsyncGenerator[AsyncConnection[Any] | None]:
    """Wait to be the active one for `service`, give the connection to work on; None if `stop` came first.

    The connection is in autocommit mode with `synchronous_commit` off: all that is lost in a crash are marks,
    which is a duplicate. Raises psycopg.OperationalError if the database is away.
    """
    connection: AsyncConnection[Any] = await AsyncConnection.connect(
        conninfo, autocommit=True, application_name=f"kanwa relay {service}"
    )
    try:
        await _limit_session(connection, lease_seconds)
        yield connection if await _acquire(connection, service, stop) else None
    finally:
        await connection.close()


async def relay_is_active(connection: AsyncConnection[Any]) -> bool:
    """Whether some process holds the lock of the one source whose database this is; other work has leases too."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = %s::oid"
            " AND objid = ANY(%s::oid[])"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))",
            (_LOCK_SPACE % 2**32, [_key(name) % 2**32 for name in get_args(ServiceName)]),
        )
        return bool(await cursor.fetchone())


async def durability(connection: AsyncConnection[Any]) -> str:
    """The `synchronous_commit` that the database's administrator chose."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'")
        return str(await cursor.fetchone() or "on")


async def _acquire(connection: AsyncConnection[Any], service: str, stop: asyncio.Event) -> bool:
    """Poll for the lock: a waiting lock call would hold back vacuum for as long as it waits."""
    while not stop.is_set():
        async with connection.cursor(row_factory=scalar_row) as cursor:
            await cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", (_LOCK_SPACE, _key(service)))
            if await cursor.fetchone():
                return True
        await set_within(stop, STANDBY_POLL_SECONDS)
    return False


def _key(service: str) -> int:
    return zlib.crc32(service.encode()) - 2**31


async def _limit_session(connection: AsyncConnection[Any], lease_seconds: int) -> None:
    limits = {
        "idle_session_timeout": f"{lease_seconds}s",
        "idle_in_transaction_session_timeout": f"{lease_seconds}s",
        "statement_timeout": f"{2 * lease_seconds}s",
        "tcp_keepalives_idle": str(lease_seconds),
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "2",
        "synchronous_commit": "off",
        # The costs that forbid a scan of the outbox make every statement look worth compiling, for half a second.
        "jit": "off",
    }
    for name, setting in limits.items():
        await connection.execute(sql.SQL("SET {} = {}").format(sql.Identifier(name), sql.Literal(setting)))

"""The read models from the log alone: what they held before makes no difference."""

from typing import Final

import structlog

from kanwa_mdt.application.project import Pool, project
from kanwa_mdt.store import log
from kanwa_shared.messaging.envelope import Event

_log = structlog.get_logger(__name__)
#: Stale events of a rebuild are counted apart from those that arrived late.
REBUILD: Final = "mdt-rebuild"
_EVERYTHING: Final = log.Filter()


async def rebuild(pool: Pool) -> int:
    """Fold the whole log again, in one commit; gives how many events were folded.

    The log's lock is held meanwhile: new events wait, readers see the old read models until it is done.
    """
    async with pool.connection() as connection, connection.transaction():
        last = await log.lock_log(connection)
        await connection.execute("DELETE FROM referral_case")
        await connection.execute("DELETE FROM fact")
        position, folded = 0, 0
        while position < last:
            rows, position = await log.read_after(connection, position, _EVERYTHING)
            await project(connection, REBUILD, [Event.from_cloudevent(row.envelope.encode()) for row in rows])
            folded += len(rows)
    _log.info("projection_rebuilt", events=folded)
    return folded

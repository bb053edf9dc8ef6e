"""The servers of the embedded run, started together and stopped together."""

import asyncio
import fcntl
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from kanwa.embedded.errors import EmbeddedServerError, FolderInUseError
from kanwa.embedded.postgres import PostgresServer
from kanwa.embedded.redis import EmbeddedRedis


class EmbeddedServers:
    """PostgreSQL in `folder` with one database and role per service, and a Redis in this process.

    Used as an async context manager; inside it `database_urls` maps each service to the URL of its database.
    A second run on the same folder raises FolderInUseError.
    """

    def __init__(self, folder: Path, services: Sequence[str]) -> None:
        self.folder = folder.resolve()
        self.postgres = PostgresServer(self.folder)
        self.redis = EmbeddedRedis()
        self.database_urls: Mapping[str, str] = {}
        self._services = tuple(services)
        self._lock: IO[str] | None = None

    async def __aenter__(self) -> Self:
        """Take the folder, start PostgreSQL and create the databases that are missing."""
        self._lock = _take(self.folder)
        try:
            await asyncio.to_thread(self.postgres.start)
            names = {service: f"kanwa_{service}" for service in self._services}
            urls = await asyncio.to_thread(self.postgres.ensure_databases, names.values())
            self.database_urls = {service: urls[name] for service, name in names.items()}
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop PostgreSQL in order and give the folder back."""
        await self._close()

    async def _close(self) -> None:
        # Shielded: a cancelled run must not leave the server behind.
        await asyncio.shield(asyncio.to_thread(self.postgres.stop))
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _take(folder: Path) -> IO[str]:
    """Lock the folder for as long as the returned file is open; the kernel frees it when the process dies."""
    try:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        # Opened for appending: a run that is refused must not wipe the number that the other one wrote.
        lock = (folder / "lock").open("a+")
    except PermissionError as refused:
        raise EmbeddedServerError(
            f"{folder} can't be written by this user (was kanwa started as root before?): "
            "run it as that user, or name another folder."
        ) from refused
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip()
        lock.close()
        raise FolderInUseError(
            f"{folder} is in use by another run of kanwa (process {holder}): stop that one first."
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock

"""Where the callers' keys come from: a file or a URL, read again when they change."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import httpx
import structlog

from kanwa_shared.errors import Unavailable
from kanwa_shared.security.key_set import KeySet, UnusableKeySetError, parse_key_set

log = structlog.get_logger(__name__)

#: How long keys from a URL are used without asking again: within it a withdrawn key still counts.
FRESH_SECONDS: Final = 300.0
#: After that a URL that does not answer is forgiven this long; then nobody is let in.
STALE_SECONDS: Final = 3600.0
#: An unknown kid makes us ask at once, but a stream of made-up ones must not become a stream of requests.
ASK_AGAIN_SECONDS: Final = 10.0
FETCH_SECONDS: Final = 5.0
DOCUMENT_BYTES_MAX: Final = 262_144
FILE_LOOK_SECONDS: Final = 1.0


class KeySource(Protocol):
    """Gives the keys that may sign; another object means that they changed."""

    async def current(self) -> KeySet:
        """The keys, read again if it is time. Raises Unavailable while no keys can be read at all."""
        ...

    async def renewed(self) -> KeySet:
        """The keys after a look for new ones, as often as that is allowed: a token names one not known."""
        ...


class FileKeys:
    """Keys from a JWKS file: a change is seen within a second, a broken file leaves the keys as they were."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic):
        self._path = path
        self._clock = clock
        self._keys: KeySet | None = None
        self._looked_at = float("-inf")
        self._seen: tuple[int, int, int] | None = None

    async def current(self) -> KeySet:
        """The file's keys. Raises Unavailable while the file was never readable."""
        now = self._clock()
        if now - self._looked_at >= FILE_LOOK_SECONDS:
            self._looked_at = now
            self._look()
        return _present(self._keys)

    async def renewed(self) -> KeySet:
        """The same: the file is looked at every second anyway."""
        return await self.current()

    def _look(self) -> None:
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen == self._seen:
                return
            self._keys = parse_key_set(self._read(status.st_size))
            self._seen = seen
        except (OSError, UnusableKeySetError) as error:
            _log_unread(error)

    def _read(self, size: int) -> bytes:
        if size > DOCUMENT_BYTES_MAX:
            raise UnusableKeySetError(f"it is larger than {DOCUMENT_BYTES_MAX} bytes")
        return self._path.read_bytes()


class UrlKeys:
    """Keys from a JWKS URL, kept five minutes; an unknown kid makes it ask again, at most every 10 s.

    `clock` gives monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._url = url
        self._transport = transport
        self._clock = clock
        self._keys: KeySet | None = None
        self._read_at = float("-inf")
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def current(self) -> KeySet:
        """The keys, at most five minutes old while the URL answers. Raises Unavailable if they can't be had."""
        age = self._clock() - self._read_at
        if age >= FRESH_SECONDS:
            await self._ask()
        if self._clock() - self._read_at >= FRESH_SECONDS + STALE_SECONDS:
            self._keys = None
        return _present(self._keys)

    async def renewed(self) -> KeySet:
        """The keys after asking again, if the last time was 10 s ago. Raises Unavailable."""
        await self._ask()
        return await self.current()

    async def _ask(self) -> None:
        """Read the set again, unless somebody has just done so; whoever comes meanwhile waits for it."""
        async with self._asking:
            if self._clock() - self._asked_at < ASK_AGAIN_SECONDS:
                return
            self._asked_at = self._clock()
            try:
                async with asyncio.timeout(FETCH_SECONDS):
                    read = parse_key_set(await self._fetch())
                # The same keys stay the same object, so tokens that were checked with them stay checked.
                self._keys = self._keys if self._keys == read else read
                self._read_at = self._clock()
            except (httpx.HTTPError, UnusableKeySetError, TimeoutError) as error:
                _log_unread(error)

    async def _fetch(self) -> bytes:
        # A redirect would let a misconfigured server name another one that may sign.
        client = httpx.AsyncClient(transport=self._transport, follow_redirects=False, timeout=FETCH_SECONDS)
        async with client, client.stream("GET", self._url) as answer:
            if not answer.is_success:
                raise UnusableKeySetError(f"it was answered with HTTP {answer.status_code}")
            document = b""
            async for part in answer.aiter_bytes():
                document += part
                if len(document) > DOCUMENT_BYTES_MAX:
                    raise UnusableKeySetError(f"it is larger than {DOCUMENT_BYTES_MAX} bytes")
            return document


def _present(keys: KeySet | None) -> KeySet:
    if keys is None:
        raise Unavailable("the callers' keys cannot be read, so nobody can be let in; try again later")
    return keys


def _log_unread(error: Exception) -> None:
    reason = str(error) if isinstance(error, UnusableKeySetError) else type(error).__name__
    log.warning("keys_not_read", reason=reason)

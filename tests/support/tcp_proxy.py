"""A TCP proxy on loopback whose connections a test can cut, slow down or freeze."""

import asyncio
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Self


class TcpProxy:
    """Forwards to `host:port`; an async context manager. `port` is where clients connect.

    With `others`, ports of the same host, a new connection goes to the first that answers, in turns.
    """

    def __init__(self, host: str, port: int, *others: int) -> None:
        self._host = host
        self._ports = deque([port, *others])
        self._latency_seconds = 0.0
        self._server: asyncio.Server | None = None
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._refusing = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.port = 0
        self.accepted = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the sockets are closed in the loop's next turn

    def cut(self) -> None:
        """Reset every connection; what was under way is lost."""
        for pair in list(self._pairs):
            for writer in pair:
                writer.transport.abort()

    def refuse(self, refusing: bool) -> None:
        """Close new connections at once, as long as `refusing`."""
        self._refusing = refusing

    def freeze(self, frozen: bool) -> None:
        """Keep connections open and forward nothing, as long as `frozen`."""
        if frozen:
            self._flowing.clear()
        else:
            self._flowing.set()

    def slow_down(self, latency_seconds: float) -> None:
        """Hold back each piece by so much, 0 for not at all; order is kept, so it also limits the rate."""
        self._latency_seconds = latency_seconds

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in range(len(self._ports)):
            port = self._ports[0]
            self._ports.rotate(-1)
            with suppress(OSError):
                return await asyncio.open_connection(self._host, port)
        return None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if (own := asyncio.current_task()) is not None:
            self._tasks.add(own)
            own.add_done_callback(self._tasks.discard)
        if self._refusing:
            writer.transport.abort()
            return
        upstream = await self._connect()
        if upstream is None:
            writer.transport.abort()
            return
        upstream_reader, upstream_writer = upstream
        pair = (writer, upstream_writer)
        self._pairs.add(pair)
        both = [
            asyncio.create_task(self._pump(reader, upstream_writer)),
            asyncio.create_task(self._pump(upstream_reader, writer)),
        ]
        self._tasks.update(both)
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            self._tasks.difference_update(both)
            for end in pair:
                end.transport.abort()
            self._pairs.discard(pair)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while received := await reader.read(65536):
                await self._flowing.wait()
                if self._latency_seconds:
                    await asyncio.sleep(self._latency_seconds)
                writer.write(received)
                await writer.drain()

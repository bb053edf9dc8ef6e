"""uvicorn as kanwa's processes run it."""

import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn

from kanwa.garbage_collection import collect_seldom


class Server(uvicorn.Server):
    """A process of its own for one application."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen once the application is ready."""
        await super().startup(sockets)
        collect_seldom()


class QuietServer(uvicorn.Server):
    """Leaves signals to the process: uvicorn's own handling ends it before the rest is stopped in order."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Do nothing."""
        yield

"""The board as a process of its own: `python -m tests.support.mdt_server`, settings from KANWA_… variables."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI

from kanwa_mdt.service import MdtSettings, create_app, end_streams
from tests.support.processes import running, wait_until
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def served(app: FastAPI, port: int) -> AsyncIterator[str]:
    """An application served in this process; gives its address."""
    async with serving_on(uvicorn.Config(app, port=port, log_level="warning", lifespan="on")):
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            if hasattr(app.state, "tail"):
                end_streams(app)


@asynccontextmanager
async def serving_on(config: uvicorn.Config) -> AsyncIterator[None]:
    """Serve in this process until the block ends."""
    server = _Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or serving.done(), what="the application")
        yield
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """Leaves the signals to the tests."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class BoardServer:
    """A board on a port of 127.0.0.1 that can be stopped, killed and started again."""

    def __init__(self, port: int, database_url: str, redis_url: str, **settings: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("KANWA_")},
            "KANWA_PORT": str(port),
            "KANWA_DATABASE_URL": database_url,
            "KANWA_REDIS_URL": redis_url,
            "KANWA_AUTH_MODE": "open",
            **{f"KANWA_{name.upper()}": value for name, value in settings.items()},
        }

    @contextmanager
    def started(self) -> Iterator["BoardServer"]:
        """Serve as long as the block runs."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.mdt_server"],
            cwd=ROOT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        with running(process):
            wait_until(self._answers, what="the board")
            yield self

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready", trust_env=False).is_success
        except httpx.HTTPError:
            return False


if __name__ == "__main__":
    read = MdtSettings()  # pyright: ignore[reportCallIssue]  # the environment gives the rest
    uvicorn.run(
        create_app(read), host=read.host, port=read.port, log_level="warning", timeout_graceful_shutdown=5
    )

"""An application behind kanwa's own protection, and what it logs."""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from kanwa_shared.logging import configure_logging
from kanwa_shared.security.keys import Algorithm, PrivateKey, make_private_key
from kanwa_shared.security.protection import protect
from tests.support.authorization import AuthorizationServer, application, serving, settings_of

Serve = Callable[..., Awaitable[httpx.AsyncClient]]


@pytest.fixture(scope="session")
def _made_keys() -> dict[str, tuple[PrivateKey, Algorithm]]:
    """Keys are slow to make, and none of these tests changes one."""
    return {"first": (make_private_key("ES384"), "ES384"), "rsa": (make_private_key("RS384"), "RS384")}


@pytest.fixture
def authorization(tmp_path: Path, _made_keys: dict[str, tuple[PrivateKey, Algorithm]]) -> AuthorizationServer:
    server = AuthorizationServer(tmp_path)
    server.keys |= _made_keys
    server.publish()
    return server


@pytest.fixture
async def serve(free_port: Callable[[], int]) -> AsyncGenerator[Serve]:
    """`await serve(**settings)` gives a client of the protected application."""
    async with AsyncExitStack() as stack:

        async def start(**given: Any) -> httpx.AsyncClient:
            app, port = application(), free_port()
            protect(app, settings_of(**given), service="test", reading_operations=frozenset({"$find"}))
            await stack.enter_async_context(serving(app, port))
            client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False)
            return await stack.enter_async_context(client)

        yield start


@pytest.fixture
def log_stream() -> Generator[Any]:
    """What is logged in a test, as text."""
    stream = StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging("json", "info", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()

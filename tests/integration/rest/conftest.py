"""One service without rules of its own, asked in this process over its real application."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from kanwa_shared.rest.app import create_app
from kanwa_shared.rest.service import ServiceDefinition
from kanwa_shared.settings import BaseServiceSettings
from tests.support.rest import BASE


@pytest.fixture
def database_url(database: Callable[..., str]) -> str:
    return database()


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    settings = BaseServiceSettings.load(
        database_url=database_url, auth_mode="open", base_url=BASE, handover_wait_seconds=0.1
    )
    peers: dict[Any, httpx.AsyncClient] = {}
    app = create_app(ServiceDefinition("intake"), settings, peers=peers)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=f"{BASE}/") as opened,
    ):
        peers["intake"] = opened
        yield opened

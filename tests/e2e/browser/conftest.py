"""Chromium on a board that is fed through its handler, with a FHIR endpoint that records what it is sent."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, ConsoleMessage, Error, Page, async_playwright
from redis.asyncio import Redis

from kanwa_mdt.service import MIGRATIONS, MdtSettings, create_app, event_handler
from kanwa_shared.messaging.envelope import EventHandler
from kanwa_shared.store.pool import open_pool
from tests.support.fhir_endpoint import FhirEndpoint
from tests.support.mdt_server import BoardServer, served

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
async def fhir(free_port: Callable[[], int]) -> AsyncIterator[FhirEndpoint]:
    endpoint = FhirEndpoint()
    async with served(endpoint.application(), free_port()) as url:
        endpoint.url = f"{url}/fhir"
        yield endpoint


@pytest.fixture
def mdt_database(database: Callable[..., str]) -> str:
    return database(MIGRATIONS)


@pytest.fixture
async def handler(mdt_database: str, redis_url: str) -> AsyncIterator[EventHandler]:
    redis = Redis.from_url(redis_url)
    async with open_pool(mdt_database, max_size=4) as pool:
        yield event_handler(pool, redis)
    await redis.aclose()


@pytest.fixture
async def board(
    mdt_database: str, redis_url: str, fhir: FhirEndpoint, free_port: Callable[[], int]
) -> AsyncIterator[str]:
    """The address of a board that runs in this process."""
    settings = MdtSettings(
        database_url=mdt_database,
        redis_url=redis_url,
        fhir_url=fhir.url,
        auth_mode="open",
        database_pool_max=4,
    )
    async with served(create_app(settings), free_port()) as url:
        yield url


@pytest.fixture
def board_server(mdt_database: str, redis_url: str, free_port: Callable[[], int]) -> BoardServer:
    """A board as a process of its own, not started yet."""
    return BoardServer(free_port(), mdt_database, redis_url)


@pytest.fixture
async def browser(chromium_executable: Path) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=str(chromium_executable), args=list(ARGUMENTS)
        )
        yield launched
        await launched.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A laptop's page; whatever goes wrong in it fails the test."""
    wrong: list[str] = []
    opened = await browser.new_page(viewport={"width": 1366, "height": 768})

    def failed(error: Error) -> None:
        wrong.append(str(error))

    def said(message: ConsoleMessage) -> None:
        # What a stopped server does to requests is part of some tests; Chromium logs refusals as errors too.
        if message.type == "error" and "Failed to load resource" not in message.text:
            wrong.append(message.text)

    opened.on("pageerror", failed)
    opened.on("console", said)
    yield opened
    await opened.close()
    assert wrong == []

"""The embedded run: every service in this process, nothing to install or start beside it."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

import kanwa_mdt.service as mdt
from kanwa.embedded.servers import EmbeddedServers
from kanwa.gateway import Gateway
from kanwa.http_server import QuietServer
from kanwa.operations import create_app as create_operations
from kanwa.services import FHIR_SERVICES, MDT, SERVICES, migration_folders
from kanwa_shared.messaging.deliveries import Subscriber
from kanwa_shared.messaging.direct import DirectDispatch, Source
from kanwa_shared.messaging.retention import prune_regularly
from kanwa_shared.rest.app import Peers, create_app
from kanwa_shared.rest.engine import Engine
from kanwa_shared.rest.fixed import publish_fixed
from kanwa_shared.store.migrate import migrate
from kanwa_shared.store.pool import open_pool
from kanwa_shared.store.resources import ResourceStore
from kanwa_shared.worker import retention_of, run_periodic, subscriber_of

LOOPBACK_NETWORKS: Final = "127.0.0.0/8 ::1/128"
HOST: Final = "127.0.0.1"  # never another: the embedded run asks nobody who they are
# Open event streams end with the server; a browser reconnects by itself.
GRACE_SECONDS: Final = 3
POOL_MAX: Final = 12


@dataclass(frozen=True, slots=True)
class EmbeddedRun:
    """A running kanwa: `fhir` is a client of its own FHIR base, `address` the board's."""

    address: str
    fhir: httpx.AsyncClient


Work = Callable[[EmbeddedRun], Awaitable[None]]
Prepare = Callable[[httpx.AsyncClient], Awaitable[object]]


async def run_embedded(folder: Path, port: int, prepare: Prepare, work: Work) -> None:
    """Start everything over `folder`, `prepare`, listen, do `work`, and serve until SIGINT or SIGTERM.

    What `prepare` writes through its FHIR client is there when the port first answers.

    Raises EmbeddedServerError if the folder or the port cannot be used.
    """
    stop = asyncio.Event()
    with _stopping_at_signals(stop):
        async with embedded(folder, port, stop, prepare) as run:
            working = asyncio.create_task(_ignoring_stop(work(run), stop), name="work")
            await stop.wait()
            working.cancel()


async def _ignoring_stop(work: Awaitable[None], stop: asyncio.Event) -> None:
    """Work that fails ends the run, with its error shown."""
    try:
        await work
    except Exception:
        stop.set()
        raise


@asynccontextmanager
async def embedded(
    folder: Path, port: int, stop: asyncio.Event, prepare: Prepare | None = None
) -> AsyncGenerator[EmbeddedRun]:
    """Every service over embedded servers, listening on loopback; `stop` is set when the block ends."""
    address = f"http://{HOST}:{port}"
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(EmbeddedServers(folder, SERVICES))
        for service in SERVICES:
            await asyncio.to_thread(migrate, servers.database_urls[service], migration_folders(service))
        transport = _Late()
        client = httpx.AsyncClient(transport=transport, base_url=f"{address}/fhir/", timeout=30)
        await stack.enter_async_context(client)
        applications = await _start_services(servers, address, stack)
        board = await _start_board(servers, address, stack)
        applications[MDT] = board
        gateway = Gateway(applications, await _operations(applications, stack))
        transport.application = gateway
        await stack.enter_async_context(_working(servers, address, stop))
        if prepare is not None:
            await prepare(client)
        await stack.enter_async_context(_listening(gateway, port, stop))
        # Left first: the server waits for its open streams.
        stack.callback(mdt.end_streams, board)
        yield EmbeddedRun(address, client)


async def _start_services(
    servers: EmbeddedServers, address: str, stack: AsyncExitStack
) -> dict[str, ASGIApp]:
    """Each FHIR service's application with its lifespan begun."""
    # Not by way of the gateway, which leads nobody to what the services ask each other.
    ways = {name: _Late() for name in FHIR_SERVICES}
    peers: Peers = {
        definition.name: await stack.enter_async_context(
            httpx.AsyncClient(transport=ways[name], base_url=f"{address}/fhir/", timeout=30)
        )
        for name, definition in FHIR_SERVICES.items()
    }
    applications: dict[str, ASGIApp] = {}
    for name, definition in FHIR_SERVICES.items():
        settings = definition.settings_class.load(**_settings(servers, name, address))
        app = create_app(definition, settings, peers=peers)
        await stack.enter_async_context(app.router.lifespan_context(app))
        applications[name] = ways[name].application = app
    return applications


async def _start_board(servers: EmbeddedServers, address: str, stack: AsyncExitStack) -> FastAPI:
    settings = mdt.MdtSettings.load(**_settings(servers, MDT, address), fhir_url=f"{address}/fhir")
    board = mdt.create_app(settings, redis=servers.redis.client())
    await stack.enter_async_context(board.router.lifespan_context(board))
    return board


def _settings(servers: EmbeddedServers, service: str, address: str) -> dict[str, object]:
    return {
        "database_url": servers.database_urls[service],
        "database_pool_max": POOL_MAX,
        "base_url": f"{address}/fhir",
        "host": HOST,
        "auth_mode": "open",
        # Who can reach this server at all can reach these addresses without it.
        "subscription_networks": LOOPBACK_NETWORKS,
    }


async def _operations(applications: dict[str, ASGIApp], stack: AsyncExitStack) -> ASGIApp:
    """The answers to /health, /ready and /metrics, asked of each service as in compose."""
    app = create_operations(
        {name: f"http://{name}" for name in applications}, transport=_ByHost(applications)
    )
    await stack.enter_async_context(app.router.lifespan_context(app))
    return app


@asynccontextmanager
async def _working(servers: EmbeddedServers, address: str, stop: asyncio.Event) -> AsyncGenerator[None]:
    """Dispatch from the outboxes to the services, without a broker, and the periodic work."""
    async with AsyncExitStack() as stack:
        subscribers: list[Subscriber] = []
        tasks: list[asyncio.Task[None]] = []
        for name, definition in FHIR_SERVICES.items():
            pool = await stack.enter_async_context(open_pool(servers.database_urls[name], max_size=POOL_MAX))
            settings = definition.settings_class.load(**_settings(servers, name, address))
            engine = Engine(definition, settings, ResourceStore(pool, base_url=settings.base_url), {})
            await publish_fixed(engine)
            subscribers.append(subscriber_of(engine))
            tasks.append(asyncio.create_task(run_periodic(engine, stop)))
            tasks.append(asyncio.create_task(prune_regularly(pool, retention_of(settings), stop)))
            tasks += [asyncio.create_task(work.run(engine, stop)) for work in definition.background]
        board_pool = await stack.enter_async_context(open_pool(servers.database_urls[MDT], max_size=POOL_MAX))
        board_settings = mdt.MdtSettings.load(**_settings(servers, MDT, address))
        retention = [*retention_of(board_settings), *mdt.retention(board_settings)]
        tasks.append(asyncio.create_task(prune_regularly(board_pool, retention, stop)))
        handler = mdt.event_handler(board_pool, servers.redis.client())
        subscribers.append(Subscriber(mdt.CONSUMER_NAME, mdt.BINDINGS, board_pool, handler))
        sources = [Source(name, servers.database_urls[name]) for name in FHIR_SERVICES]
        tasks.append(asyncio.create_task(DirectDispatch(sources, subscribers).run(stop)))
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*tasks)


@asynccontextmanager
async def _listening(gateway: ASGIApp, port: int, stop: asyncio.Event) -> AsyncGenerator[None]:
    config = uvicorn.Config(
        gateway, host=HOST, port=port, lifespan="off", log_config=None, access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )  # fmt: skip
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve(), name="http")
    serving.add_done_callback(lambda _: stop.set())
    try:
        while not server.started and not serving.done():  # noqa: ASYNC110  # uvicorn tells by this alone
            await asyncio.sleep(0.02)
        if serving.done():
            await serving
        yield
    finally:
        server.should_exit = True
        await serving


class _Late(httpx.AsyncBaseTransport):
    """A transport into an application that is built after the clients that use it."""

    application: ASGIApp | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Call the application in this process."""
        assert self.application is not None  # noqa: S101  # set before anything listens
        transport = httpx.ASGITransport(self.application, raise_app_exceptions=False)
        return await transport.handle_async_request(request)


class _ByHost(httpx.AsyncBaseTransport):
    """Requests to `http://<service>/` go to that service's application."""

    def __init__(self, applications: dict[str, ASGIApp]):
        self._transports = {
            name: httpx.ASGITransport(app, raise_app_exceptions=False) for name, app in applications.items()
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Call the service named by the host; to the application it is a request from this machine."""
        name = request.url.host
        request.headers["host"] = "localhost"
        return await self._transports[name].handle_async_request(request)


@contextmanager
def _stopping_at_signals(stop: asyncio.Event) -> Generator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

"""One process of a deployment: a service's API or its worker, with the settings of the environment."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import uvicorn
from fastapi import FastAPI
from redis.asyncio import Redis
from starlette.responses import Response

import kanwa_mdt.service as mdt
from kanwa.http_server import QuietServer, Server
from kanwa.services import FHIR_SERVICES, MDT, SERVICES, topology
from kanwa_shared.logging import configure_logging
from kanwa_shared.messaging.amqp import Connection
from kanwa_shared.messaging.consumer import Consumer
from kanwa_shared.messaging.deliveries import Subscriber
from kanwa_shared.messaging.gaps import GapSettings
from kanwa_shared.messaging.publisher import Publisher
from kanwa_shared.messaging.retention import prune_regularly
from kanwa_shared.messaging.topology import Topology
from kanwa_shared.rest.app import create_app
from kanwa_shared.rest.health import health
from kanwa_shared.settings import BaseServiceSettings
from kanwa_shared.store.pool import open_pool
from kanwa_shared.telemetry import metrics
from kanwa_shared.worker import retention_of, run_worker, source_logs_of
from kanwa_shared.worker_readiness import WorkerReadiness

GRACE_SECONDS: Final = 10
STARTUP_FAILED: Final = 3  # uvicorn's own status for it


def serve_api(service: str) -> None:
    """Serve HTTP until told to stop. Raises pydantic.ValidationError for settings that are missing or unsafe."""
    settings = _settings(service)
    configure_logging(settings.log_format, settings.log_level)
    if isinstance(settings, mdt.MdtSettings):
        app = mdt.create_app(settings)
    else:
        app = create_app(FHIR_SERVICES[service], settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config)
    with suppress(KeyboardInterrupt):  # uvicorn raises Ctrl-C again once it has stopped
        server.run()
    if not server.started:
        raise SystemExit(STARTUP_FAILED)


def serve_worker(service: str) -> None:
    """Publish, consume and do periodic work until told to stop; /health and /metrics answer on the port."""
    settings = _settings(service)
    configure_logging(settings.log_format, settings.log_level)
    asyncio.run(_work(service, settings))


async def declare_topology(amqp_url: str, prefix: str) -> None:
    """Create every exchange and queue; needs configure rights."""
    connection = await Connection.open(amqp_url, name="kanwa topology")
    try:
        await topology(prefix).declare(await connection.channel())
    finally:
        await connection.close()


async def _work(service: str, settings: BaseServiceSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    broker = topology(settings.amqp_prefix)
    readiness = WorkerReadiness(settings.ready_timeout_seconds)

    async def work() -> None:
        if isinstance(settings, mdt.MdtSettings):
            await _work_on_board(settings, broker, stop, readiness)
        else:
            await run_worker(FHIR_SERVICES[service], settings, broker, stop, readiness)

    await _beside_operations(settings, stop, work, readiness)


async def _work_on_board(
    settings: mdt.MdtSettings, broker: Topology, stop: asyncio.Event, readiness: WorkerReadiness
) -> None:
    url, heartbeat = settings.required_amqp_url, settings.amqp_heartbeat_seconds
    redis = Redis.from_url(settings.redis_url) if settings.redis_url else None  # pyright: ignore[reportUnknownMemberType]  # untyped kwargs
    try:
        async with (
            open_pool(settings.database_url, max_size=settings.database_pool_max) as pool,
            Publisher(url, name="mdt", prepare=broker.check, heartbeat_seconds=heartbeat) as publisher,
            source_logs_of(settings, mdt.BINDINGS) as logs,
            asyncio.TaskGroup() as tasks,
        ):
            handler = mdt.event_handler(pool, redis)
            subscriber = Subscriber(mdt.CONSUMER_NAME, mdt.BINDINGS, pool, handler)
            consumer = Consumer(
                subscriber,
                url,
                publisher,
                broker,
                heartbeat_seconds=heartbeat,
                logs=logs,
                gap_settings=GapSettings(settings.gap_check_seconds),
            )
            readiness.watch(pool, publisher, consumer)
            tasks.create_task(consumer.run(stop), name="consumer")
            retention = [*retention_of(settings), *mdt.retention(settings)]
            tasks.create_task(prune_regularly(pool, retention, stop), name="retention")
    finally:
        if redis is not None:
            await redis.aclose()


async def _beside_operations(
    settings: BaseServiceSettings,
    stop: asyncio.Event,
    work: Callable[[], Awaitable[None]],
    readiness: WorkerReadiness,
) -> None:
    """Do the work while answering /health, /ready and /metrics; if either ends, both do."""
    app = FastAPI(openapi_url=None)
    app.add_api_route("/health", health, methods=["GET"])
    app.add_api_route("/ready", readiness.ready, methods=["GET"], response_class=Response)
    app.add_api_route("/metrics", metrics, methods=["GET"])
    config = uvicorn.Config(app, host=settings.host, port=settings.port, log_config=None, access_log=False)
    server = QuietServer(config)

    async def operations() -> None:
        try:
            await server.serve()
        finally:
            stop.set()

    async def working() -> None:
        try:
            await work()
        finally:
            server.should_exit = True

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(operations())
        tasks.create_task(working())


def _settings(service: str) -> BaseServiceSettings:
    if service not in SERVICES:
        raise SystemExit(f"kanwa: there is no service '{service}'; there are {', '.join(SERVICES)}")
    return mdt.MdtSettings.load() if service == MDT else FHIR_SERVICES[service].settings_class.load()

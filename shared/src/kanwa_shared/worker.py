"""One service's background work: publish its outbox, react to events, do what is due."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import httpx
import structlog
from psycopg import Error as DatabaseError
from psycopg_pool import PoolTimeout

from kanwa_shared.errors import DomainError
from kanwa_shared.messaging.consumer import Consumer
from kanwa_shared.messaging.deliveries import Subscriber
from kanwa_shared.messaging.gaps import GapSettings
from kanwa_shared.messaging.publisher import Publisher
from kanwa_shared.messaging.relay import Relay
from kanwa_shared.messaging.retention import Prune, messaging_rows, prune_regularly
from kanwa_shared.messaging.source_log import HttpSourceLogs
from kanwa_shared.messaging.topology import Binding, Topology
from kanwa_shared.ownership import owner_of
from kanwa_shared.rest.engine import Engine, Origin
from kanwa_shared.rest.fixed import publish_fixed
from kanwa_shared.rest.reactions import Reactions
from kanwa_shared.rest.service import Context, Periodic, ServiceDefinition
from kanwa_shared.security.access import EVENTS_PATH
from kanwa_shared.settings import BaseServiceSettings
from kanwa_shared.store.pool import open_pool
from kanwa_shared.store.resources import ResourceStore
from kanwa_shared.timed_wait import set_within
from kanwa_shared.worker_readiness import WorkerReadiness

_log = structlog.get_logger(__name__)

# Any number that no other advisory lock uses; the periodic work's name is hashed beside it.
PERIODIC_LOCK: Final = 5_264_212


def binding_of(definition: ServiceDefinition) -> Binding:
    """What the service's queue receives: the types it keeps copies of, and its own that its rules follow."""
    followed = {*definition.event_rules, *definition.every_event_rules}
    own = {name for name in followed if owner_of(name) == definition.name}
    foreign = sorted(f"{owner_of(name)}.{name}.*" for name in definition.replicates)
    patterns = (*foreign, *sorted(f"{definition.name}.{name}.*" for name in own))
    return Binding(definition.name, patterns, takes_hand_overs=True)


def subscriber_of(engine: Engine) -> Subscriber:
    """The service's reactions as a consumer calls them."""
    reactions = Reactions(engine)
    return Subscriber(
        engine.definition.name,
        binding_of(engine.definition).patterns,
        engine.store.pool,
        reactions.on_event,
        reactions.on_hand_over,
    )


def retention_of(settings: BaseServiceSettings) -> list[Prune]:
    """What a service's worker deletes when its time is over."""
    return messaging_rows(
        timedelta(days=settings.outbox_retention_days), timedelta(days=settings.inbox_retention_days)
    )


@asynccontextmanager
async def source_logs_of(
    settings: BaseServiceSettings, patterns: Sequence[str]
) -> AsyncGenerator[HttpSourceLogs]:
    """The logs of the services whose events these routing patterns may match, at their addresses in the network."""
    addresses = {
        "intake": settings.peer_intake_url,
        "scheduling": settings.peer_scheduling_url,
        "outcomes": settings.peer_outcomes_url,
    }
    first_words = {pattern.partition(".")[0] for pattern in patterns}
    heard = {name: url for name, url in addresses.items() if first_words & {name, "*", "#"}}
    urls = {name: str(httpx.URL(url).copy_with(path=EVENTS_PATH)) for name, url in heard.items()}
    async with httpx.AsyncClient(timeout=settings.peer_timeout_seconds, trust_env=False) as client:
        yield HttpSourceLogs(client, urls, settings.events_password)


async def run_worker(
    definition: ServiceDefinition,
    settings: BaseServiceSettings,
    topology: Topology,
    stop: asyncio.Event,
    readiness: WorkerReadiness,
) -> None:
    """Relay, consume and do periodic work until `stop`; needs RabbitMQ only while publishing or receiving."""
    heartbeat = settings.amqp_heartbeat_seconds
    async with open_pool(settings.database_url, max_size=settings.database_pool_max) as pool:
        engine = Engine(definition, settings, ResourceStore(pool, base_url=settings.base_url), {})
        await publish_fixed(engine)
        amqp_url = settings.required_amqp_url
        publisher = Publisher(
            amqp_url, name=f"{definition.name} relay", prepare=topology.check, heartbeat_seconds=heartbeat
        )
        subscriber = subscriber_of(engine)
        async with (
            publisher,
            source_logs_of(settings, subscriber.patterns) as logs,
            asyncio.TaskGroup() as tasks,
        ):
            relay = Relay(settings.database_url, publisher, topology, definition.name)
            consumer = Consumer(
                subscriber,
                amqp_url,
                publisher,
                topology,
                heartbeat_seconds=heartbeat,
                logs=logs,
                gap_settings=GapSettings(settings.gap_check_seconds),
            )
            readiness.watch(pool, publisher, consumer, relay)
            tasks.create_task(relay.run(stop), name="relay")
            tasks.create_task(consumer.run(stop), name="consumer")
            tasks.create_task(run_periodic(engine, stop), name="periodic")
            tasks.create_task(prune_regularly(pool, retention_of(settings), stop), name="retention")
            for work in definition.background:
                tasks.create_task(work.run(engine, stop), name=work.name)


async def run_periodic(engine: Engine, stop: asyncio.Event) -> None:
    """Do each piece of periodic work when it is due, in one worker of the service at a time."""
    async with asyncio.TaskGroup() as tasks:
        for work in engine.definition.periodic:
            tasks.create_task(_repeat(engine, work, stop), name=work.name)


async def _repeat(engine: Engine, work: Periodic, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            await _once(engine, work)
        except (DatabaseError, PoolTimeout, DomainError) as error:
            _log.warning("periodic_work_failed", work=work.name, error_class=type(error).__name__)
        await set_within(stop, work.every_seconds)


async def _once(engine: Engine, work: Periodic) -> None:
    async def stage(context: Context) -> None:
        await work.run(context)

    async with engine.store.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            "SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", (PERIODIC_LOCK, work.name)
        )
        row = await cursor.fetchone()
        if row is not None and row[0]:
            await engine.perform(Origin(caller=f"kanwa-{engine.definition.name}"), stage)

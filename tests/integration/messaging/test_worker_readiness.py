"""A worker's /ready follows what happens to its database, its broker and its lease."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import httpx
from starlette.applications import Starlette
from starlette.routing import Route

from kanwa_shared.messaging.consumer import Consumer
from kanwa_shared.messaging.publisher import Publisher
from kanwa_shared.messaging.relay import Relay
from kanwa_shared.messaging.topology import Topology
from kanwa_shared.store.pool import open_pool
from kanwa_shared.worker_readiness import WorkerReadiness
from tests.support.messaging import DELAYS_SECONDS, Ledger
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until


async def test_readiness_follows_database_broker_and_lease(
    database: Callable[..., str], amqp_url: str
) -> None:
    url = database()
    broker, server = urlsplit(amqp_url), urlsplit(url)
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        to_broker = await stack.enter_async_context(TcpProxy("127.0.0.1", broker.port or 5672))
        amqp = broker._replace(netloc=f"guest:guest@127.0.0.1:{to_broker.port}").geturl()
        to_database = await stack.enter_async_context(TcpProxy("127.0.0.1", server.port or 5432))
        account = server.netloc.rpartition("@")[0]
        own = server._replace(netloc=f"{account}@127.0.0.1:{to_database.port}").geturl()
        readiness = WorkerReadiness(timeout_seconds=1.0)
        app = Starlette(routes=[Route("/ready", readiness.ready)])
        client = await stack.enter_async_context(
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://worker")
        )

        async def says(status_code: int, **parts: str) -> bool:
            answer = await client.get("/ready")
            return answer.status_code == status_code and parts.items() <= answer.json().items()

        assert await says(503, status="starting")
        ledger = await stack.enter_async_context(Ledger("mdt", url))
        topology = Topology([ledger.subscriber.binding], delays_seconds=DELAYS_SECONDS)
        pool = await stack.enter_async_context(open_pool(own, max_size=2))
        publisher = await stack.enter_async_context(
            Publisher(amqp, name="worker", prepare=topology.declare, heartbeat_seconds=1)
        )
        await asyncio.wait_for(publisher.wait_ready(), 20)
        consumer = Consumer(ledger.subscriber, amqp, publisher, topology, heartbeat_seconds=1)
        relays = [Relay(url, publisher, topology, "intake") for _ in range(2)]
        tasks = [asyncio.create_task(work.run(stop)) for work in (consumer, *relays)]
        await until(lambda: any(relay.active for relay in relays))
        active, standby = sorted(relays, key=lambda relay: not relay.active)

        readiness.watch(pool, publisher, consumer, active)
        await until(lambda: says(200, status="ready", broker="ok", consumer="subscribed", relay="active"))
        readiness.watch(pool, publisher, consumer, standby)
        assert await says(200, status="ready", relay="standby")

        to_broker.refuse(True)
        to_broker.cut()
        await until(lambda: says(200, status="degraded", broker="away"))
        to_broker.refuse(False)
        await until(lambda: says(200, status="ready", broker="ok"), deadline_seconds=30)

        to_database.freeze(True)
        assert await says(503, status="unavailable", database="TimeoutError")
        to_database.freeze(False)
        await until(lambda: says(200, status="ready"), deadline_seconds=20)

        stop.set()
        await asyncio.gather(*tasks)

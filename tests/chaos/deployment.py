"""Every process of kanwa over the rig's servers, each server behind a proxy that can be cut."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from kanwa.services import FHIR_SERVICES, MDT, SERVICES, migration_folders, topology
from kanwa.serving import declare_topology
from kanwa_shared.store.migrate import migrate
from tests.chaos.clocks import Clocks
from tests.chaos.probe import channel_to
from tests.chaos.processes import Process, Supervisor
from tests.chaos.servers import Servers
from tests.support.ports import unused_port
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until

#: A second board's worker that no fault is aimed at; it is fed through exchanges of its own.
STEADY = "steady-board"
START_SECONDS = 120.0
#: Of the broker: short, so that a paused process is noticed within a run.
HEARTBEAT_SECONDS = 3
#: More cards than any run makes, so that the board shows every case.
CARDS = "100000"

Modules = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Layout:
    """What is started. `standby` names services with a second worker, `modules` another Python module than
    `kanwa` (with its first arguments) for a process: how a test breaks the product on purpose."""

    services: Sequence[str] = SERVICES
    standby: Sequence[str] = ("intake",)
    steady_board: bool = True
    modules: Modules = field(default_factory=dict[str, Sequence[str]])
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Deployment:
    """`gateway` and `board` are addresses; `databases` the URLs past the proxies; `targets` may be killed."""

    gateway: str
    board: str
    supervisor: Supervisor
    proxies: Mapping[str, TcpProxy]
    databases: Mapping[str, str]
    health: Mapping[str, str]
    broker_urls: list[str]

    @property
    def targets(self) -> list[str]:
        """Processes that faults are aimed at."""
        return [name for name in self.supervisor.processes if name != STEADY]

    async def all_answer(self) -> bool:
        """Whether every process does."""
        async with httpx.AsyncClient(timeout=3) as client:
            answers = await asyncio.gather(
                *(client.get(f"{at}/health") for at in self.health.values()), return_exceptions=True
            )
        return all(isinstance(answer, httpx.Response) and answer.is_success for answer in answers)


@asynccontextmanager
async def deployment(
    folder: Path, own: Servers, layout: Layout, clocks: Clocks, before_start: Callable[[], None]
) -> AsyncIterator[Deployment]:
    """Prepare databases and queues, start all processes, and keep them up until the block ends.

    `before_start` is called when exchanges are there and nothing is running yet; it may block.
    """
    databases = await asyncio.to_thread(_migrated, own, layout)
    async with AsyncExitStack() as stack:
        proxies = {
            "broker": TcpProxy("127.0.0.1", *own.brokers.ports),
            "database": TcpProxy("127.0.0.1", own.database.port),
            "redis": TcpProxy("127.0.0.1", own.redis.port),
        }
        for proxy in proxies.values():
            await stack.enter_async_context(proxy)
        await _declare(own, layout)
        await asyncio.to_thread(before_start)
        built = _Processes(folder, own, layout, clocks, proxies, databases)
        supervisor = Supervisor(built.processes)
        keeping = asyncio.create_task(supervisor.run())
        try:
            made = Deployment(
                built.gateway,
                built.addresses[MDT],
                supervisor,
                proxies,
                databases,
                built.health,
                [node.url for node in own.brokers.nodes],
            )
            await until(
                made.all_answer, deadline_seconds=START_SECONDS, interval_seconds=0.2, what="every process"
            )
            yield made
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await asyncio.to_thread(supervisor.stop)


class _Processes:
    """Builds the command and environment of each process."""

    def __init__(
        self,
        folder: Path,
        own: Servers,
        layout: Layout,
        clocks: Clocks,
        proxies: Mapping[str, TcpProxy],
        databases: Mapping[str, str],
    ) -> None:
        self._folder, self._layout, self._clocks = folder, layout, clocks
        self.processes: dict[str, Process] = {}
        self.health: dict[str, str] = {}
        self.addresses = {service: f"http://127.0.0.1:{unused_port()}" for service in layout.services}
        self.gateway = f"http://127.0.0.1:{unused_port()}"
        self._shared = {
            "KANWA_HOST": "127.0.0.1",
            "KANWA_AUTH_MODE": "open",
            "KANWA_BASE_URL": f"{self.gateway}/fhir",
            "KANWA_REDIS_URL": f"redis://127.0.0.1:{proxies['redis'].port}/0",
            "KANWA_AMQP_URL": f"amqp://guest:guest@127.0.0.1:{proxies['broker'].port}/",
            "KANWA_LOG_LEVEL": "info",
            "KANWA_HEARTBEAT_SECONDS": "1",
            "KANWA_AMQP_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
            "KANWA_COLUMN_CARDS_MAX": CARDS,
            "KANWA_ENDED_CARDS_MAX": CARDS,
            "KANWA_FHIR_URL": f"{self.gateway}/fhir",
            **{
                f"KANWA_PEER_{name.upper()}_URL": f"{self.addresses[name]}/fhir"
                for name in FHIR_SERVICES
                if name in self.addresses
            },
            **layout.environment,
        }
        for service in layout.services:
            database = _through(databases[service], proxies["database"].port)
            self._add(service, "api", database, urlsplit(self.addresses[service]).port or 0)
            for name in ["worker", *(["standby"] if service in layout.standby else [])]:
                self._add(service, name, database, unused_port())
        if layout.steady_board:
            direct = {
                "KANWA_AMQP_URL": own.brokers.nodes[0].url,
                "KANWA_AMQP_PREFIX": STEADY,
                "KANWA_DATABASE_URL": databases[STEADY],
            }
            self._start_by(STEADY, ["-m", "kanwa", "serve", MDT, "worker"], {**self._shared, **direct})
        self._start_by(
            "gateway",
            ["-m", "tests.chaos.gateway"],
            {
                "CHAOS_GATEWAY_PORT": str(urlsplit(self.gateway).port),
                "CHAOS_GATEWAY_TARGETS": json.dumps(self.addresses),
            },
        )
        self.health["gateway"] = self.gateway

    def _add(self, service: str, name: str, database: str, port: int) -> None:
        process, role = f"{service}-{name}", "api" if name == "api" else "worker"
        module = self._layout.modules.get(process, ("kanwa",))
        environment = {**self._shared, "KANWA_DATABASE_URL": database, "KANWA_PORT": str(port)}
        self._start_by(process, ["-m", *module, "serve", service, role], environment)
        self.health[process] = f"http://127.0.0.1:{port}"

    def _start_by(self, name: str, arguments: list[str], environment: dict[str, str]) -> None:
        if name == STEADY:
            environment = {**environment, "KANWA_PORT": str(unused_port())}
            self.health[name] = f"http://127.0.0.1:{environment['KANWA_PORT']}"
        self.processes[name] = Process(
            name,
            [sys.executable, *arguments],
            {**environment, **self._clocks.environment(name)},
            self._folder / f"{name}.log",
        )


def _through(url: str, port: int) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}").geturl()


def _migrated(own: Servers, layout: Layout) -> dict[str, str]:
    names = [*layout.services, *([STEADY] if layout.steady_board else [])]
    databases = own.database.databases(names)
    with ThreadPoolExecutor(2) as pool:
        done = [
            pool.submit(migrate, url, migration_folders(MDT if name == STEADY else name))
            for name, url in databases.items()
        ]
        for one in done:
            one.result()
    return databases


async def _declare(own: Servers, layout: Layout) -> None:
    url = own.brokers.nodes[0].url
    await declare_topology(url, "kanwa")
    if layout.steady_board:
        await declare_topology(url, STEADY)
        await asyncio.to_thread(_feed_steady_board, url)


def _feed_steady_board(url: str) -> None:
    """Its exchange gets what kanwa's gets; the queues of the other services under its prefix get nothing."""
    steady = topology(STEADY)
    with channel_to([url]) as channel:
        channel.exchange_bind(steady.events, topology().events, "#")
        for binding in steady.bindings:
            for pattern in binding.patterns if binding.consumer != MDT else ():
                channel.queue_unbind(steady.queue(binding.consumer), steady.events, pattern)

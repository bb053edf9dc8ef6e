"""A whole kanwa as its users run it: embedded in one process, or each service in its own over real servers."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from kanwa.gateway import service_for
from kanwa.seed.plant import plant
from kanwa.services import FHIR_SERVICES, MDT, SERVICES, migration_folders
from tests.support.processes import running, wait_until

START_SECONDS = 180.0


@dataclass(slots=True)
class Deployment:
    """`addresses` maps each service to its HTTP address; `processes` each process to its handle."""

    addresses: dict[str, str]
    processes: dict[str, subprocess.Popen[Any]] = field(default_factory=dict)
    commands: dict[str, tuple[list[str], dict[str, str]]] = field(default_factory=dict)
    #: Where each process writes its output, as `<name>.log`; without it they write to this one's.
    logs: Path | None = None

    @asynccontextmanager
    async def fhir(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client of the one FHIR base."""
        transport = _ByPath(self.addresses)
        async with httpx.AsyncClient(
            transport=transport, base_url=f"{self.addresses['intake']}/fhir/", timeout=30
        ) as client:
            yield client

    @asynccontextmanager
    async def board(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client of the board."""
        async with httpx.AsyncClient(base_url=self.addresses[MDT], timeout=30) as client:
            yield client

    async def seed(self) -> None:
        """Write the example hospital group."""
        async with self.fhir() as client:
            await plant(client, datetime.now(UTC).date(), ZoneInfo("UTC"))

    def kill_and_restart(self, name: str) -> None:
        """SIGKILL one process, then start it again, as a restart policy does."""
        process = self.processes[name]
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        self.start(name)

    def start(self, name: str) -> None:
        """Start one process by its command."""
        command, environment = self.commands[name]
        with ExitStack() as stack:
            output = (
                None if self.logs is None else stack.enter_context((self.logs / f"{name}.log").open("ab"))
            )
            self.processes[name] = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=output, stderr=output
            )

    def stop(self) -> None:
        """Stop every process that is running, by its own process id."""
        with ExitStack() as stack:
            for process in self.processes.values():
                stack.enter_context(running(process))


class _ByPath(httpx.AsyncBaseTransport):
    """What nginx does in a deployment: the service by the path."""

    def __init__(self, addresses: Mapping[str, str]):
        self._addresses = addresses
        self._wire = httpx.AsyncHTTPTransport(retries=2)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        target = httpx.URL(self._addresses[service_for(request.url.path)])
        request.url = request.url.copy_with(host=target.host, port=target.port)
        request.headers["host"] = f"{target.host}:{target.port}"
        return await self._wire.handle_async_request(request)

    async def aclose(self) -> None:
        await self._wire.aclose()


@contextmanager
def embedded_deployment(folder: Path, port: int) -> Iterator[Deployment]:
    """`kanwa run` on its own folder; the hospital group is seeded by itself."""
    address = f"http://127.0.0.1:{port}"
    deployment = Deployment(dict.fromkeys(SERVICES, address))
    command = [sys.executable, "-m", "kanwa", "run", "--folder", str(folder), "--port", str(port)]
    deployment.commands["kanwa"] = (command, {})
    deployment.start("kanwa")
    try:
        _wait_for({"kanwa": address})
        yield deployment
    finally:
        deployment.stop()


@contextmanager
def process_deployment(
    database: Callable[..., str],
    amqp_url: str,
    redis_url: str,
    free_port: Callable[[], int],
    logs: Path | None = None,
) -> Iterator[Deployment]:
    """Every service's API and worker in a process of its own, over real PostgreSQL, RabbitMQ and Redis.

    With a folder for `logs` they tell everything there, otherwise warnings here.
    """
    ports = {service: free_port() for service in SERVICES}
    addresses = {service: f"http://127.0.0.1:{port}" for service, port in ports.items()}
    deployment = Deployment(addresses, logs=logs)
    shared = {
        "KANWA_HOST": "127.0.0.1",
        "KANWA_AUTH_MODE": "open",
        "KANWA_BASE_URL": f"{addresses['intake']}/fhir",
        "KANWA_REDIS_URL": redis_url,
        "KANWA_AMQP_URL": amqp_url,
        "KANWA_LOG_LEVEL": "warning" if logs is None else "debug",
        # Often, so that what it takes for missing by mistake shows in a test's time.
        "KANWA_GAP_CHECK_SECONDS": "1",
        "KANWA_FHIR_URL": f"{addresses['intake']}/fhir",
        **{f"KANWA_PEER_{name.upper()}_URL": f"{addresses[name]}/fhir" for name in FHIR_SERVICES},
    }
    subprocess.run(
        [sys.executable, "-m", "kanwa", "topology", "declare"], env={**os.environ, **shared}, check=True
    )
    answering: dict[str, str] = {}
    for service in SERVICES:
        own = {**shared, "KANWA_DATABASE_URL": database(*migration_folders(service))}
        for role, port in (("api", ports[service]), ("worker", free_port())):
            name = f"{service}-{role}"
            command = [sys.executable, "-m", "kanwa", "serve", service, role]
            deployment.commands[name] = (command, {**own, "KANWA_PORT": str(port)})
            answering[name] = f"http://127.0.0.1:{port}"
            deployment.start(name)
    try:
        _wait_for(answering)
        yield deployment
    finally:
        deployment.stop()


def _wait_for(addresses: Mapping[str, str]) -> None:
    for name, address in addresses.items():
        wait_until(lambda at=address: _answers(at), what=name, deadline_seconds=START_SECONDS)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health", timeout=2).is_success
    except httpx.HTTPError:
        return False

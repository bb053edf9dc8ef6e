"""The rig's own PostgreSQL, RabbitMQ and Redis: installed programs, own ports and folders, loopback only."""

import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kanwa.embedded import PostgresServer
from tests.support.installation import apt_install, find_program, stop_the_run
from tests.support.ports import accepts, unused_port
from tests.support.postgres import installed_binaries
from tests.support.processes import STOP_SECONDS, wait_until
from tests.support.rabbitmq_node import RabbitNode, installed_programs, node_name
from tests.support.redis import PROGRAMS

# A server that is killed loses what it had not handed to the operating system, and no more: a commit must have
# handed it over, but need not wait for the disk, as a power cut is not among the faults.
POSTGRES_SETTINGS = {"fsync": "off", "synchronous_commit": "on", "max_connections": "300"}


class Database:
    """PostgreSQL, to be restarted and crashed."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o711)  # from root, PostgreSQL's own account must be able to enter
        self.port = unused_port()
        self._server = PostgresServer(
            folder, binaries=installed_binaries(), port=self.port, settings=POSTGRES_SETTINGS
        )

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def restart(self) -> None:
        """As an administrator does: sessions are ended, a checkpoint is written."""
        self._server.stop()
        self._server.start()

    def crash(self) -> None:
        """Immediate shutdown: no checkpoint, the next start replays the log."""
        if (pid := self._server.pid) is not None:
            os.kill(pid, signal.SIGQUIT)
            wait_until(lambda: self._server.pid is None, what="the end of PostgreSQL")
        self._server.start()

    def databases(self, names: list[str]) -> dict[str, str]:
        """Make databases; gives their URLs."""
        return self._server.ensure_databases(names)


class Redis:
    """Redis, to be killed; what it held is gone then."""

    def __init__(self, folder: Path) -> None:
        self.port = unused_port()
        self._folder = folder
        self._process: subprocess.Popen[Any] | None = None
        program = find_program(PROGRAMS)
        if program is None and apt_install("redis-server"):
            program = find_program(PROGRAMS)
        if program is None:
            stop_the_run("install redis-server: the fault rig starts and kills its own")
        self._program = program

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [self._program, *options, "--dir", str(self._folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(lambda: accepts("127.0.0.1", self.port), what="Redis")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def crash(self) -> None:
        """SIGKILL and an empty start."""
        self.stop()
        self.start()


class Brokers:
    """One RabbitMQ node or a cluster of them."""

    def __init__(self, folder: Path, nodes: int) -> None:
        programs = installed_programs()
        if programs is None and apt_install("rabbitmq-server"):
            programs = installed_programs()
        if programs is None:
            stop_the_run("install rabbitmq-server: the fault rig starts and kills its own nodes")
        names = [node_name(f"chaos{n}") for n in range(nodes)]
        epmd_port, cookie = unused_port(), secrets.token_hex(20)
        self.nodes: list[RabbitNode] = []
        for name in names:
            own = folder / name.partition("@")[0]
            own.mkdir()
            peers = names if nodes > 1 else ()
            self.nodes.append(
                RabbitNode(programs, own, name=name, peers=peers, epmd_port=epmd_port, cookie=cookie)
            )

    @property
    def ports(self) -> list[int]:
        return [node.port for node in self.nodes]

    def start(self) -> None:
        """Start all together: nodes of a cluster wait for each other."""
        for node in self.nodes:
            node.start()
        with ThreadPoolExecutor() as pool:
            if not all(pool.map(RabbitNode.wait, self.nodes)):
                raise AssertionError("RabbitMQ did not start")

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()
        self.nodes[0].stop_name_server()

    def crash(self) -> None:
        """SIGKILL every node and start all again."""
        for node in self.nodes:
            node.kill()
        self.start()

    def start_node(self, number: int) -> None:
        """Start one that was killed, and wait until it is in."""
        self.nodes[number].start()
        self.nodes[number].wait()


@dataclass(frozen=True, slots=True)
class Servers:
    """All three, running."""

    database: Database
    brokers: Brokers
    redis: Redis


@contextmanager
def servers(folder: Path, *, broker_nodes: int) -> Iterator[Servers]:
    """Start all three over `folder`, stop them at the end."""
    parts = {name: folder / name for name in ("postgres", "rabbitmq", "redis")}
    folder.mkdir()
    for above in (folder.parent, folder):
        above.chmod(0o711)  # the servers' own accounts must be able to enter
    for part in parts.values():
        part.mkdir()
        part.chmod(0o711)
    own = Servers(
        Database(parts["postgres"]), Brokers(parts["rabbitmq"], broker_nodes), Redis(parts["redis"])
    )
    started: list[Database | Brokers | Redis] = [own.database, own.brokers, own.redis]
    try:
        with ThreadPoolExecutor() as pool:
            for done in [pool.submit(server.start) for server in started]:
                done.result()
        yield own
    finally:
        for server in started:
            server.stop()

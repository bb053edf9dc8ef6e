"""The RabbitMQ that tests use: a virtual host per test."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol
from urllib.parse import quote, unquote, urlsplit

import httpx

from kanwa.broker_accounts import Account
from tests.support.installation import Container, apt_install, find_program, stop_the_run
from tests.support.ports import accepts, unused_port
from tests.support.processes import wait_until
from tests.support.rabbitmq_node import (
    Control,
    RabbitNode,
    control_by,
    installed_programs,
    virtual_host_definitions,
)

STANDARD_URL: Final = "amqp://guest:guest@127.0.0.1:5672/"
ACCOUNT: Final = "kanwa-test"  # of a container that only this run uses
# One call of rabbitmqctl costs about a second, so virtual hosts are made several at a time.
VIRTUAL_HOSTS_AT_A_TIME: Final = 8


class Administration(Protocol):
    """Makes and removes virtual hosts."""

    def create(self, user: str, names: list[str]) -> bool:
        """Make virtual hosts in which `user` may do everything; whether that worked."""
        ...

    def delete(self, names: list[str]) -> None:
        """Remove them with all that is in them."""
        ...

    def add_account(self, host: str, account: Account) -> None:
        """Make an account with its rights in one virtual host."""
        ...

    def remove_account(self, user: str) -> None:
        """Remove it."""
        ...


class CommandAdministration:
    """By rabbitmqctl."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def create(self, user: str, names: list[str]) -> bool:
        return self._control("import_definitions", stdin=virtual_host_definitions(user, names)) is not None

    def delete(self, names: list[str]) -> None:
        listed = ",".join(f'<<"{name}">>' for name in names)
        self._control("eval", f'[catch rabbit_vhost:delete(V, <<"kanwa">>) || V <- [{listed}]].')

    def add_account(self, host: str, account: Account) -> None:
        self._control("add_user", account.user, account.password)
        rights = (account.configure, account.write, account.read)
        self._control("set_permissions", "-p", host, account.user, *rights)

    def remove_account(self, user: str) -> None:
        self._control("delete_user", user)


class ManagementAdministration:
    """By the management plugin's HTTP interface."""

    def __init__(self, address: str, user: str, password: str) -> None:
        self._client = httpx.Client(base_url=address, auth=(user, password), timeout=10.0, trust_env=False)

    def create(self, user: str, names: list[str]) -> bool:
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        try:
            for name in names:
                self._client.put(f"/api/vhosts/{name}").raise_for_status()
                self._client.put(f"/api/permissions/{name}/{quote(user)}", json=everything).raise_for_status()
        except httpx.HTTPError:
            return False
        return True

    def delete(self, names: list[str]) -> None:
        for name in names:
            self._client.delete(f"/api/vhosts/{name}")
        self._client.close()

    def add_account(self, host: str, account: Account) -> None:
        user = quote(account.user, safe="")
        self._client.put(
            f"/api/users/{user}", json={"password": account.password, "tags": ""}
        ).raise_for_status()
        rights = {"configure": account.configure, "write": account.write, "read": account.read}
        self._client.put(f"/api/permissions/{host}/{user}", json=rights).raise_for_status()

    def remove_account(self, user: str) -> None:
        self._client.delete(f"/api/users/{quote(user, safe='')}")


class Broker:
    """A running RabbitMQ; gives out fresh virtual hosts."""

    def __init__(self, url: str, administration: Administration) -> None:
        self._url = urlsplit(url)
        self._administration = administration
        self._unused: list[str] = []
        self._made: list[str] = []

    def prepare(self) -> bool:
        """Make the next few virtual hosts; whether that worked."""
        names = [f"kanwa-test-{uuid.uuid4().hex[:12]}" for _ in range(VIRTUAL_HOSTS_AT_A_TIME)]
        if not self._administration.create(unquote(self._url.username or "guest"), names):
            return False
        self._made += names
        self._unused += names
        return True

    def virtual_host_url(self) -> str:
        """Give the AMQP URL of a virtual host that nobody has used."""
        if not self._unused and not self.prepare():
            raise AssertionError("RabbitMQ made no further virtual hosts")
        return self._url._replace(path=f"/{self._unused.pop()}").geturl()

    @contextmanager
    def account(self, virtual_host_url: str, account: Account) -> Iterator[str]:
        """Give the AMQP URL of a new account in a virtual host, with the rights that it is given and no others."""
        url = urlsplit(virtual_host_url)
        self._administration.add_account(url.path.removeprefix("/"), account)
        try:
            yield url._replace(
                netloc=f"{account.user}:{account.password}@{url.hostname}:{url.port or 5672}"
            ).geturl()
        finally:
            self._administration.remove_account(account.user)

    def close(self) -> None:
        """Remove every virtual host that was made."""
        if self._made:
            self._administration.delete(self._made)


@contextmanager
def broker() -> Iterator[Broker]:
    """Give a RabbitMQ in which virtual hosts can be made.

    KANWA_TEST_AMQP_URL, else one started from installed programs, else the server on the standard port, else one
    from a container or Debian's package. A node of the tests' own is always healthy: on a long-running one that
    had made and deleted thousands of virtual hosts, making another hung.
    """
    named = os.environ.get("KANWA_TEST_AMQP_URL")
    installed = find_program(["rabbitmq-server"]) is not None
    found = None if installed and not named else _running_broker(named or STANDARD_URL)
    if found is None and named:
        stop_the_run(
            "KANWA_TEST_AMQP_URL can't be used: start that RabbitMQ, and enable its management plugin "
            "(KANWA_TEST_RABBITMQ_MANAGEMENT_URL) for an account with the tag administrator"
        )
    if found is not None:
        with _closing(found):
            yield found
        return
    with _own_broker() as started:
        if not started.prepare():
            stop_the_run("the RabbitMQ that was started refuses to make virtual hosts")
        with _closing(started):
            yield started


@contextmanager
def _closing(one: Broker) -> Iterator[None]:
    try:
        yield
    finally:
        one.close()


def _running_broker(url: str) -> Broker | None:
    address = urlsplit(url)
    host, port = address.hostname or "127.0.0.1", address.port or 5672
    if not accepts(host, port):
        return None
    user, password = unquote(address.username or "guest"), unquote(address.password or "guest")
    management = os.environ.get("KANWA_TEST_RABBITMQ_MANAGEMENT_URL", f"http://{host}:15672")
    ways: list[Administration] = [ManagementAdministration(management, user, password)]
    if (
        host in ("127.0.0.1", "localhost", "::1")
        and port == 5672
        and (program := find_program(["rabbitmqctl"]))
    ):
        ways.append(CommandAdministration(control_by([str(program), "--quiet"], os.environ)))
    found = (Broker(url, way) for way in ways)
    return next((one for one in found if one.prepare()), None)


@contextmanager
def _own_broker() -> Iterator[Broker]:
    programs = installed_programs()
    if programs is None:
        port, management_port = unused_port(), unused_port()
        container = Container.start(
            "rabbitmq:3-management",
            published={port: 5672, management_port: 15672},
            environment={"RABBITMQ_DEFAULT_USER": ACCOUNT, "RABBITMQ_DEFAULT_PASS": ACCOUNT},
        )
        if container is not None:
            yield from _in_container(container, port, management_port)
            return
        if apt_install("rabbitmq-server"):
            programs = installed_programs()
    if programs is None:
        stop_the_run("install rabbitmq-server (or start RabbitMQ and name it in KANWA_TEST_AMQP_URL)")
    with TemporaryDirectory(prefix="kanwa-test-rabbitmq-") as folder:
        yield from _from_programs(programs, Path(folder))


def _in_container(container: Container, port: int, management_port: int) -> Iterator[Broker]:
    # rabbitmqctl import_definitions through `docker exec` never returned; the HTTP interface does the same.
    administration = ManagementAdministration(f"http://127.0.0.1:{management_port}", ACCOUNT, ACCOUNT)
    started = Broker(f"amqp://{ACCOUNT}:{ACCOUNT}@127.0.0.1:{port}/", administration)
    try:
        wait_until(started.prepare, what="RabbitMQ in a container", deadline_seconds=120)
        yield started
    finally:
        container.stop()


def _from_programs(programs: tuple[Path, Path], folder: Path) -> Iterator[Broker]:
    node = RabbitNode(programs, folder)
    try:
        node.start()
        if not node.wait():
            stop_the_run("RabbitMQ did not start from the installed programs")
        yield Broker(node.url, CommandAdministration(node.control))
    finally:
        node.stop()
        node.stop_name_server()

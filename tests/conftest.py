"""Servers, databases and waiting for every test. A fixture starts its server only when a test asks for it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support import browser, ports
from tests.support.postgres import Databases, postgres_server
from tests.support.rabbitmq import Broker, broker
from tests.support.redis import clear, redis_database


@pytest.fixture(scope="session")
def postgres_server_url() -> Iterator[str]:
    """The URL of a PostgreSQL whose account may create databases and roles."""
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def _databases(postgres_server_url: str) -> Iterator[Databases]:
    databases = Databases(postgres_server_url)
    yield databases
    databases.close()


@pytest.fixture
def database(_databases: Databases) -> Iterator[Callable[..., str]]:
    """`database(*migration_folders)` gives the URL of a fresh database with the shared migrations and those.

    Each call makes another database; all are dropped after the test.
    """
    urls: list[str] = []

    def create(*migration_folders: Path) -> str:
        urls.append(_databases.create(*migration_folders))
        return urls[-1]

    yield create
    for url in urls:
        _databases.drop(url)


@pytest.fixture
def empty_database(_databases: Databases) -> Iterator[str]:
    """The URL of a database without any table, dropped after the test."""
    url = _databases.create_empty()
    yield url
    _databases.drop(url)


@pytest.fixture(scope="session")
def _broker() -> Iterator[Broker]:
    with broker() as running:
        yield running


@pytest.fixture
def amqp_url(_broker: Broker) -> str:
    """The URL of a RabbitMQ virtual host of this test's own, so queues may have their real names."""
    return _broker.virtual_host_url()


@pytest.fixture
def broker_account(_broker: Broker) -> Callable[..., AbstractContextManager[str]]:
    """`broker_account(amqp_url, account)` gives the URL of that account, which may do no more than it says."""
    return _broker.account


@pytest.fixture(scope="session")
def _redis_database() -> Iterator[str]:
    with redis_database() as url:
        yield url


@pytest.fixture
def redis_url(_redis_database: str) -> Iterator[str]:
    """The URL of an empty Redis database, cleared after the test."""
    yield _redis_database
    clear(_redis_database)


@pytest.fixture
def free_port() -> Callable[[], int]:
    """`free_port()` gives a port of 127.0.0.1 that nothing listens on, another one with each call."""
    given: set[int] = set()

    def choose() -> int:
        port = ports.unused_port()
        while port in given:
            port = ports.unused_port()
        given.add(port)
        return port

    return choose


@pytest.fixture(scope="session")
def chromium_executable() -> Path:
    """A Chromium for Playwright's `executable_path`."""
    return browser.chromium()

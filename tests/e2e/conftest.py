"""Servers that one module's deployment keeps for all its tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import ports
from tests.support.redis import clear


@pytest.fixture(scope="module")
def module_free_port() -> Callable[[], int]:
    given: set[int] = set()

    def choose() -> int:
        port = ports.unused_port()
        while port in given:
            port = ports.unused_port()
        given.add(port)
        return port

    return choose


@pytest.fixture(scope="module")
def module_database(_databases: Any) -> Iterator[Callable[..., str]]:
    urls: list[str] = []

    def create(*folders: Path) -> str:
        urls.append(_databases.create(*folders))
        return urls[-1]

    yield create
    for url in urls:
        _databases.drop(url)


@pytest.fixture(scope="module")
def module_amqp_url(_broker: Any) -> str:
    return _broker.virtual_host_url()


@pytest.fixture(scope="module")
def module_redis_url(_redis_database: str) -> Iterator[str]:
    yield _redis_database
    clear(_redis_database)

"""The Redis that tests use: a database of its own per run."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from tempfile import TemporaryDirectory

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.installation import Container, apt_install, find_program, stop_the_run
from tests.support.ports import unused_port
from tests.support.processes import running, wait_until

STANDARD_URL = "redis://127.0.0.1:6379"
PROGRAMS = ("redis-server", "valkey-server")
DATABASES = range(15, 0, -1)  # 0 is where people keep things
LOCK_KEY = "kanwa-test-run"
LOCK_SECONDS = 3600


@contextmanager
def redis_database() -> Iterator[str]:
    """Give the URL of an empty Redis database that no other run uses.

    KANWA_TEST_REDIS_URL, else a free database of the server on the standard port, else a server started from
    installed programs, a container or Debian's package.
    """
    named = os.environ.get("KANWA_TEST_REDIS_URL")
    with _locked_database(named or STANDARD_URL) as url:
        if url:
            yield url
            return
    if named:
        stop_the_run(
            "KANWA_TEST_REDIS_URL can't be used (no answer, or no empty database): start it or unset it"
        )
    with _own_server() as server_url, _locked_database(server_url) as url:
        if url is None:
            stop_the_run("the Redis that was started has no empty database")
        yield url


@contextmanager
def _locked_database(server_url: str) -> Iterator[str | None]:
    mark = uuid.uuid4().hex
    for number in DATABASES:
        url = f"{server_url.rstrip('/')}/{number}"
        with closing(_client(url)) as client:
            try:
                if client.dbsize() or not client.set(LOCK_KEY, mark, nx=True, ex=LOCK_SECONDS):
                    continue
            except redis.RedisError:
                break
            try:
                yield url
            finally:
                client.flushdb()
            return
    yield None


def clear(url: str) -> None:
    """Delete every key but the one that holds the database for this run."""
    with closing(_client(url)) as client:
        keys = [key for key in client.scan_iter(count=1000) if key != LOCK_KEY.encode()]
        if keys:
            client.delete(*keys)


def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0))


def _answers(url: str) -> bool:
    with closing(_client(url)) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


@contextmanager
def _own_server() -> Iterator[str]:
    port = unused_port()
    url = f"redis://127.0.0.1:{port}"
    program = find_program(PROGRAMS)
    if program is None and (container := Container.start("redis:7", published={port: 6379})):
        try:
            wait_until(lambda: _answers(url), what="Redis in a container")
            yield url
        finally:
            container.stop()
        return
    if program is None and apt_install("redis-server"):
        program = find_program(PROGRAMS)
    if program is None:
        stop_the_run("install redis-server (or start Redis and name it in KANWA_TEST_REDIS_URL)")
    with TemporaryDirectory(prefix="kanwa-test-redis-") as folder:
        options = [
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            folder,
        ]
        process = subprocess.Popen(
            [program, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        with running(process):
            wait_until(lambda: _answers(url), what="Redis")
            yield url

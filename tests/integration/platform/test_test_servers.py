"""The servers that tests get are real and their own."""

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

import pika
import psycopg
import pytest
import redis

from tests.support.redis import clear
from tests.support.waiting import until


async def test_each_call_gives_a_database_of_its_own(database: Callable[..., str]) -> None:
    one, other = database(), database()
    with psycopg.connect(one, autocommit=True) as connection:
        connection.execute("INSERT INTO inbox VALUES ('a', gen_random_uuid(), now())")
    with psycopg.connect(other) as connection:
        assert connection.execute("SELECT count(*) FROM inbox").fetchone() == (0,)


async def test_an_empty_database_has_no_table(empty_database: str) -> None:
    with psycopg.connect(empty_database) as connection:
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert row == (0,)


def test_a_virtual_host_is_the_tests_own(amqp_url: str) -> None:
    assert urlsplit(amqp_url).path.startswith("/kanwa-test-")
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    channel = connection.channel()
    channel.queue_declare("kanwa.test", durable=True, arguments={"x-queue-type": "quorum"})
    channel.basic_publish("", "kanwa.test", b"x")
    connection.close()


def test_a_redis_database_is_empty(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.keys() == [b"kanwa-test-run"]
        client.set("left", "behind")
        clear(redis_url)
        assert client.get("left") is None


async def test_waiting_gives_what_the_condition_gave() -> None:
    values = iter([None, 0, 7])
    assert await until(lambda: next(values)) == 7


async def test_waiting_fails_at_its_deadline_with_the_last_failure() -> None:
    async def never() -> bool:
        await asyncio.sleep(0)
        raise AssertionError("still empty")

    with pytest.raises(AssertionError, match=r"the queue did not come true.*still empty"):
        await until(never, deadline_seconds=0.05, what="the queue")

"""`/events`: from any place in the log, filtered, in order, live, with heartbeats, for slow readers too."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis

from kanwa_mdt.service import MdtSettings, create_app, event_handler
from kanwa_mdt.store.log import Filter, read_after
from kanwa_mdt.store.retention import superseded_rows
from kanwa_shared.messaging.envelope import Event, EventHandler
from tests.support.mdt_cases import EventSource, Referral, whole_loop
from tests.support.mdt_server import served
from tests.support.redis import clear


@dataclass
class Message:
    id: int
    type: str
    data: str


class Reader:
    """An SSE client that keeps what it reads."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()
        self.comments: list[str] = []

    async def message(self, seconds: float = 10.0) -> Message:
        async with asyncio.timeout(seconds):
            return await anext(self._messages())

    async def messages(self, count: int) -> list[Message]:
        return [await self.message() for _ in range(count)]

    async def _messages(self) -> AsyncIterator[Message]:
        fields: dict[str, str] = {}
        async for line in self._lines:
            if line.startswith(":"):
                self.comments.append(line[1:].strip())
            elif line:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
            elif "data" in fields:
                yield Message(int(fields["id"]), fields["event"], fields["data"])
                return
            else:
                fields = {}


async def take(handler: EventHandler, events: list[Event]) -> None:
    for event in events:
        await handler(event)


async def test_from_position_nought_every_event_comes_in_order_and_whole(
    board_url: str, client: httpx.AsyncClient, handler: EventHandler
) -> None:
    events = whole_loop(Referral(EventSource(), "a"))
    await take(handler, events)
    async with client.stream("GET", f"{board_url}/events", headers={"last-event-id": "0"}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        messages = await Reader(response).messages(len(events))
    assert [m.id for m in messages] == list(range(1, len(events) + 1))
    assert [m.type for m in messages] == [event.type for event in events]
    assert [m.data.encode() for m in messages] == [event.to_cloudevent() for event in events]


@pytest.mark.parametrize("name", ["last-event-id", "after"])
async def test_a_reader_goes_on_where_it_was(
    board_url: str, client: httpx.AsyncClient, handler: EventHandler, name: str
) -> None:
    events = whole_loop(Referral(EventSource(), "a"))
    await take(handler, events)
    async with client.stream("GET", f"{board_url}/events", params={name: "7"}) as response:
        assert (await Reader(response).message()).id == 8


async def test_a_new_reader_starts_with_what_comes(
    board_url: str, client: httpx.AsyncClient, handler: EventHandler
) -> None:
    events = whole_loop(Referral(EventSource(), "a"))
    await take(handler, events[:5])
    async with client.stream("GET", f"{board_url}/events") as response:
        reader = Reader(response)
        await handler(events[5])
        assert (await reader.message()).id == 6


async def test_without_redis_events_come_by_polling(
    board_url: str, client: httpx.AsyncClient, pool: AsyncConnectionPool[Any]
) -> None:
    silent = event_handler(pool, None)
    events = whole_loop(Referral(EventSource(), "a"))
    async with client.stream("GET", f"{board_url}/events") as response:
        reader = Reader(response)
        await silent(events[0])
        assert (await reader.message(seconds=5.0)).id == 1


async def test_a_quiet_stream_beats(board_url: str, client: httpx.AsyncClient, handler: EventHandler) -> None:
    async with client.stream("GET", f"{board_url}/events") as response:
        reader = Reader(response)
        with pytest.raises(TimeoutError):
            await reader.message(seconds=1.5)
        assert "heartbeat" in reader.comments


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ({"patient": "b-patient"}, lambda e: e.resource_id.startswith("b-") or e.resource_id == "b"),
        ({"patient": "Patient/b-patient"}, lambda e: e.resource_id.startswith("b-") or e.resource_id == "b"),
        ({"type": "kanwa.intake.Task.*"}, lambda e: e.resource_type == "Task"),
        ({"type": "kanwa.scheduling.Procedure.update.v1"}, lambda e: e.type == "kanwa.scheduling.Procedure.update.v1"),
        ({"type": "kanwa.intake.Task.*,kanwa.scheduling.*"}, lambda e: "Task" in e.type or "scheduling" in e.type),
    ],
)  # fmt: skip
@pytest.mark.parametrize("live", [False, True])
async def test_a_filter_passes_what_it_names_and_nothing_else(
    board_url: str, client: httpx.AsyncClient, handler: EventHandler, parameters: Any, wanted: Any, live: bool
) -> None:  # fmt: skip
    source = EventSource()
    events = [*whole_loop(Referral(source, "a")), *whole_loop(Referral(source, "b"))]
    expected = [event.id for event in events if wanted(event)]
    if not live:
        await take(handler, events)
    async with client.stream("GET", f"{board_url}/events", params={**parameters, "after": 0}) as response:
        if live:
            await take(handler, events)
        messages = await Reader(response).messages(len(expected))
    assert [json.loads(m.data)["id"] for m in messages] == expected


async def test_stage_and_site_filter_by_where_the_case_stood(
    board_url: str, client: httpx.AsyncClient, handler: EventHandler
) -> None:
    await take(handler, whole_loop(Referral(EventSource(), "a")))
    for parameters in ({"stage": "booked"}, {"site": "suite-central-angio-ct"}):
        async with client.stream("GET", f"{board_url}/events", params={**parameters, "after": 0}) as response:
            assert json.loads((await Reader(response).message()).data)["type"].startswith(
                "kanwa.scheduling.Appointment"
            )


async def test_data_none_leaves_the_resource_out(
    board_url: str, client: httpx.AsyncClient, handler: EventHandler
) -> None:
    await take(handler, whole_loop(Referral(EventSource(), "a"))[:1])
    async with client.stream("GET", f"{board_url}/events?after=0&data=none") as response:
        message = await Reader(response).message()
    assert "Aoki" not in message.data
    assert "data" not in json.loads(message.data)


@pytest.mark.parametrize(
    "query", ["after=x", "after=-1", "stage=somewhere", "colour=red", "data=some", "last-event-id=9x"]
)
async def test_what_is_not_understood_is_refused_with_an_outcome(
    board_url: str, client: httpx.AsyncClient, query: str
) -> None:
    response = await client.get(f"{board_url}/events?{query}")
    assert response.status_code == 400
    assert response.json()["resourceType"] == "OperationOutcome"


async def test_a_position_of_another_log_gets_everything_of_this_one(
    board_url: str, client: httpx.AsyncClient, handler: EventHandler
) -> None:
    await take(handler, whole_loop(Referral(EventSource(), "a")))
    async with client.stream("GET", f"{board_url}/events", headers={"last-event-id": "4711"}) as response:
        assert (await Reader(response).message()).id == 1


async def test_a_reader_that_left_ends_equal_to_one_that_stayed(
    board_url: str,
    settings: MdtSettings,
    client: httpx.AsyncClient,
    handler: EventHandler,
    free_port: Callable[[], int],
) -> None:
    events = whole_loop(Referral(EventSource(), "a"))
    third = len(events) // 3
    async with client.stream("GET", f"{board_url}/events?after=0") as staying:
        stayed = Reader(staying)
        async with client.stream("GET", f"{board_url}/events?after=0") as response:
            await take(handler, events[:third])
            left = await Reader(response).messages(third)
        await take(handler, events[third:])
        whole = await stayed.messages(len(events))
    async with served(create_app(settings), free_port()) as another:
        last = {"last-event-id": str(left[-1].id)}
        async with client.stream("GET", f"{another}/events", headers=last) as response:
            rest = await Reader(response).messages(len(events) - third)
    assert left + rest == whole


async def test_a_slow_reader_gets_everything_and_holds_nobody_up(
    board_url: str, client: httpx.AsyncClient, handler: EventHandler
) -> None:
    source = EventSource()
    padding = "x" * 60_000
    events = [
        source.told({"resourceType": "Communication", "id": f"c{n}", "payload": [{"contentString": padding}]})
        for n in range(150)
    ]
    async with client.stream("GET", f"{board_url}/events?after=0") as slow:
        async with client.stream("GET", f"{board_url}/events?after=0") as quick:
            for start in range(0, len(events), 50):
                await asyncio.gather(*(handler(event) for event in events[start : start + 50]))
            assert [m.id for m in await Reader(quick).messages(150)] == list(range(1, 151))
        assert [m.id for m in await Reader(slow).messages(150)] == list(range(1, 151))


async def test_a_server_that_is_told_to_stop_ends_its_streams(
    settings: MdtSettings, client: httpx.AsyncClient, free_port: Callable[[], int]
) -> None:
    async with served(create_app(settings), free_port()) as url:
        response = await client.send(client.build_request("GET", f"{url}/events"), stream=True)
        reader = Reader(response)
    with pytest.raises(StopAsyncIteration):
        await reader.message()
    await response.aclose()


async def test_a_position_after_which_versions_were_dropped_is_answered_with_gone(
    settings: MdtSettings,
    client: httpx.AsyncClient,
    handler: EventHandler,
    pool: AsyncConnectionPool[Any],
    free_port: Callable[[], int],
) -> None:
    events = whole_loop(Referral(EventSource(), "a"))
    await take(handler, events)
    newest = {event.resource: event for event in events}
    async with pool.connection() as connection:
        await connection.execute("UPDATE event_log SET time = now() - interval '400 days'")
        dropped = await superseded_rows(timedelta(days=365))(connection)
    assert dropped == len(events) - len(newest)
    last_dropped = max(n for n, e in enumerate(events, start=1) if newest[e.resource] is not e)
    async with served(create_app(settings), free_port()) as url:
        older = await client.get(f"{url}/events", headers={"last-event-id": str(last_dropped - 1)})
        async with client.stream("GET", f"{url}/events?after=0") as response:
            kept = await Reader(response).messages(len(newest))
        async with client.stream("GET", f"{url}/events?after={last_dropped}") as response:
            assert response.status_code == 200
    assert older.status_code == 410
    assert "after=0" in older.json()["issue"][0]["diagnostics"]
    assert {json.loads(message.data)["id"] for message in kept} == {event.id for event in newest.values()}


async def test_a_page_of_the_log_is_bounded_in_size_and_nothing_is_left_out(
    handler: EventHandler, pool: AsyncConnectionPool[Any]
) -> None:
    source = EventSource()
    # Random text: PostgreSQL compresses what repeats.
    texts = [secrets.token_hex(300_000) for _ in range(8)]
    for number, text in enumerate(texts):
        payload = [{"contentString": text}]
        await handler(source.told({"resourceType": "Communication", "id": f"c{number}", "payload": payload}))
    position, sizes = 0, list[int]()
    async with pool.connection() as connection:
        while position < len(texts):
            rows, position = await read_after(connection, position, Filter())
            sizes.append(len(rows))
    assert sum(sizes) == len(texts)
    assert len(sizes) > 1


async def test_readers_of_two_replicas_get_everything_while_redis_forgets_and_comes_back(
    settings: MdtSettings,
    client: httpx.AsyncClient,
    handler: EventHandler,
    free_port: Callable[[], int],
    redis_url: str,
) -> None:
    events = whole_loop(Referral(EventSource(), "a"))
    third = len(events) // 3
    async with (
        served(create_app(settings), free_port()) as one,
        served(create_app(settings), free_port()) as two,
        client.stream("GET", f"{one}/events?after=0") as first,
        client.stream("GET", f"{two}/events?after=0") as second,
    ):
        readers = [Reader(first), Reader(second)]
        await take(handler, events[:third])
        read = [await reader.messages(third) for reader in readers]
        async with Redis.from_url(redis_url) as redis:
            # As a restart does: everything is forgotten, and every connection with its subscriptions is cut.
            await asyncio.to_thread(clear, redis_url)
            await redis.client_kill_filter(_type="pubsub", skipme=True)
        await take(handler, events[third:])
        for known, reader in zip(read, readers, strict=True):
            known += await reader.messages(len(events) - third)
    assert read[0] == read[1]
    assert [message.id for message in read[0]] == list(range(1, len(events) + 1))

"""Pages while others write: every match that stays one is met once."""

import asyncio
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from kanwa_shared.errors import Invalid
from kanwa_shared.fhir.search import SearchPage, execute, execution, pages, parse_search
from kanwa_shared.fhir.search.cursor import Cursor, fingerprint
from tests.support import indexed

Connection = AsyncConnection[TupleRow]
BASE = "https://kanwa.test/fhir"


def _task(id: str, status: str = "requested", **members: object) -> dict[str, object]:
    return {"resourceType": "Task", "id": id, "status": status, "intent": "order", **members}


def _dated(id: str) -> dict[str, object]:
    """A third of them without a date."""
    day = int(id.removeprefix("t"))
    return _task(id, **({"authoredOn": f"2026-03-{day % 28 + 1:02}"} if day % 3 else {}))


async def _page(connection: Connection, query: str) -> SearchPage:
    return await execute(connection, parse_search("Task", parse_qsl(query)), base_url=BASE)


async def _walk(connection: Connection, query: str) -> list[str]:
    ids: list[str] = []
    following: str | None = query
    while following:
        page = await _page(connection, following)
        ids += [match.id for match in page.matches]
        following = page.next_query
    return ids


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    "sort",
    [
        "",
        "&_sort=_lastUpdated",
        "&_sort=-_lastUpdated",
        "&_sort=status,-_lastUpdated",
        "&_sort=-authored-on",
    ],
)
async def test_each_match_is_met_once_while_others_update_and_create(
    connection: Connection, database_url: str, sort: str
) -> None:
    held = {f"t{number:02}" for number in range(40)}
    await indexed.write(connection, [_dated(id) for id in sorted(held)])
    stop = asyncio.Event()
    written = [0, 0, 0]

    async def keep_writing(offset: int) -> None:
        async with await AsyncConnection.connect(database_url, autocommit=True) as own:
            while not stop.is_set():
                written[offset] += 1
                number = written[offset] * 7 + offset
                await indexed.write(own, [_dated(f"t{number % 40:02}"), _task(f"new-{offset}-{number}")])

    writers = [asyncio.create_task(keep_writing(offset)) for offset in range(len(written))]
    walks = 0
    try:
        async with asyncio.timeout(60):
            while walks < 6 or min(written) <= 5:
                met = [id for id in await _walk(connection, f"status=requested&_count=4{sort}") if id in held]
                assert sorted(met) == sorted(held)
                walks += 1
    finally:
        stop.set()
        await asyncio.gather(*writers)


async def test_the_total_is_that_of_the_first_page(connection: Connection) -> None:
    await indexed.write(connection, [_task(f"t{number}") for number in range(5)])
    first = await _page(connection, "_count=2")
    await indexed.write(connection, [_task("t9")])
    assert first.next_query is not None
    second = await _page(connection, first.next_query)
    assert (first.total, second.total) == (5, 5)


async def test_a_deleted_resource_is_no_match_on_a_later_page(connection: Connection) -> None:
    await indexed.write(connection, [_task(f"t{number}") for number in range(4)])
    first = await _page(connection, "_count=2")
    await indexed.delete(connection, "Task", "t2")
    assert first.next_query is not None
    assert [match.id for match in (await _page(connection, first.next_query)).matches] == ["t3"]


async def test_a_count_of_none_gives_the_total_alone(connection: Connection) -> None:
    await indexed.write(connection, [_task(f"t{number}") for number in range(3)])
    for query in ("_count=0", "_summary=count", "_count=0&_totalMethod=count"):
        page = await _page(connection, query)
        assert (page.matches, page.total, page.next_query) == ([], 3, None)


async def test_the_links_repeat_the_query(connection: Connection) -> None:
    await indexed.write(connection, [_task(f"t{number}") for number in range(3)])
    page = await _page(connection, "status=requested,received&_count=2&_format=json")
    assert page.self_query == page.first_query == "status=requested,received&_count=2&_format=json"
    assert page.next_query is not None
    assert page.next_query.startswith(f"{page.self_query}&_cursor=")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cursor: "garbage",
        lambda cursor: "%%%",
        lambda cursor: cursor[:-8],
        lambda cursor: cursor[:20] + "AAAA" + cursor[24:],
        lambda cursor: "WyJ4IixbXSwiIiwiIiwxXQ",
        lambda cursor: "W10",
        lambda cursor: "é",
    ],
)
async def test_a_damaged_cursor_is_refused(connection: Connection, spoil: object) -> None:
    await indexed.write(connection, [_task(f"t{number}") for number in range(3)])
    page = await _page(connection, "_count=1&_sort=-_lastUpdated")
    cursor = dict(parse_qsl(page.next_query or ""))["_cursor"]
    assert callable(spoil)
    query = [("_count", "1"), ("_sort", "-_lastUpdated"), ("_cursor", spoil(cursor))]
    with pytest.raises(Invalid, match="_cursor"):
        await execute(connection, parse_search("Task", query), base_url=BASE)


@pytest.mark.parametrize(
    "snapshot", ["", "::", "5:3:", "0:0:", "3:9:9", "3:9:5,4", "3:9:4,4", "9" * 19 + ":1:", "a:b:c"]
)
async def test_a_made_up_snapshot_is_refused(connection: Connection, snapshot: str) -> None:
    query = [("_count", "1"), ("_sort", "-_lastUpdated")]
    now = datetime(2026, 3, 5, tzinfo=UTC)
    cursor = Cursor(fingerprint(parse_search("Task", query)), [now.isoformat(), "t"], snapshot, now, 1)
    search = parse_search("Task", [*query, ("_cursor", cursor.written())])
    with pytest.raises(Invalid, match="not a cursor of this query"):
        await execute(connection, search, base_url=BASE)


async def test_a_cursor_of_another_query_is_refused(connection: Connection) -> None:
    await indexed.write(connection, [_task(f"t{number}") for number in range(3)])
    page = await _page(connection, "status=requested&_count=1")
    cursor = dict(parse_qsl(page.next_query or ""))["_cursor"]
    with pytest.raises(Invalid, match="not a cursor of this query"):
        await _page(connection, f"status=completed&_count=1&_cursor={cursor}")


async def test_priority_is_sorted_clinically(connection: Connection) -> None:
    priorities = {"a": "routine", "b": "stat", "c": "urgent", "d": "asap"}
    tasks = [_task(id, priority=priority) for id, priority in priorities.items()]
    await indexed.write(connection, [*tasks, _task("e")])
    assert await _walk(connection, "_sort=priority&_count=2") == ["b", "d", "c", "a", "e"]
    assert await _walk(connection, "_sort=-priority,-_id&_count=2") == ["e", "a", "c", "d", "b"]


async def test_a_match_without_the_sort_key_comes_last(connection: Connection) -> None:
    dates = {"a": None, "b": "2026-03-05", "c": "2026-03-04T10:00:00Z", "d": None}
    await indexed.write(
        connection,
        [_task(id, **({"authoredOn": date} if date else {})) for id, date in dates.items()],
    )
    assert await _walk(connection, "_sort=authored-on&_count=1") == ["c", "b", "a", "d"]
    assert await _walk(connection, "_sort=-authored-on&_count=1") == ["b", "c", "a", "d"]


async def test_many_matches_are_counted_as_exactly_as_the_client_wants(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await indexed.write(connection, [_task(f"t{number:02}") for number in range(30)])
    await connection.execute("ANALYZE")
    monkeypatch.setattr(pages, "FEW", 5)
    monkeypatch.setattr(execution, "FEW", 5)
    exact = await _page(connection, "_count=2")
    assert (exact.total, exact.notes) == (30, [])
    monkeypatch.setattr(execution, "EXACT_TOTAL", 10)
    unsaid = await _page(connection, "_count=2")
    assert unsaid.total is not None
    assert unsaid.total > 10
    assert [note.severity for note in unsaid.notes] == ["information"]
    following = await _page(connection, unsaid.next_query or "")
    assert (following.total, following.notes) == (unsaid.total, unsaid.notes)
    for query, total in (("_total=accurate", 30), ("_total=none", None), ("_summary=count", 30)):
        page = await _page(connection, f"_count=2&{query}")
        assert (page.total, page.notes) == (total, [])
    estimated = await _page(connection, "_count=2&_total=estimate")
    assert estimated.notes == []
    assert estimated.total is not None
    assert estimated.total > 5

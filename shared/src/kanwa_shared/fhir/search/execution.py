"""Answering a search: one statement for a page and the number of matches, one for each round of includes.

Where there are many matches there is one more for the page and one for their number.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from kanwa_shared.errors import Issue
from kanwa_shared.fhir.search.conditions import Search
from kanwa_shared.fhir.search.cursor import Cursor, fingerprint, read_cursor
from kanwa_shared.fhir.search.including import added_resources
from kanwa_shared.fhir.search.pages import FEW, every_match, number_of_matches, page_of_few, page_of_many
from kanwa_shared.fhir.search.sorting import key_of
from kanwa_shared.fhir.search.sql import Composed, Statement
from kanwa_shared.store.stored import StoredResource

Connection = AsyncConnection[TupleRow]
EXACT_TOTAL: Final = 10_000
"""Matches that are counted one by one unless the client says that it wants an accurate total."""


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of matches, with the resources that were asked for beside them.

    `total` counts all matches as the first page saw them, None if the client did not want it. The queries are
    query strings without `?`; `next_query` is None on the last page. `notes` are for the client: what was ignored or
    left out, and a total that is an estimate.
    """

    matches: list[StoredResource]
    included: list[StoredResource]
    total: int | None
    self_query: str
    first_query: str
    next_query: str | None
    notes: list[Issue] = field(default_factory=lambda: [])


async def execute(connection: Connection, search: Search, *, base_url: str) -> SearchPage:
    """Answer `search` from what is committed now.

    `base_url` is the server's own FHIR base: absolute references below it mean relative ones. Raises Invalid
    for a cursor that is not one of this query.
    """
    cursor = read_cursor(search)
    found = await _found(connection, search, cursor, base_url)
    included, warnings = await added_resources(connection, search.includes, found.matches)
    query = [pair for pair in search.honoured if pair[0] != "_cursor"]
    return SearchPage(
        matches=found.matches,
        included=included,
        total=found.total,
        self_query=_query([*query, ("_cursor", search.cursor)] if search.cursor else query),
        first_query=_query(query),
        next_query=_query([*query, ("_cursor", found.following.written())]) if found.following else None,
        notes=[*search.ignored, *found.notes, *warnings],
    )


def _query(pairs: Iterable[tuple[str, str]]) -> str:
    return urlencode(list(pairs), safe=":/,$*")


@dataclass(frozen=True, slots=True)
class _Found:
    matches: list[StoredResource]
    total: int | None
    following: Cursor | None = None
    notes: tuple[Issue, ...] = ()


async def _found(connection: Connection, search: Search, cursor: Cursor | None, base_url: str) -> _Found:
    asked = _Asked(connection, search, base_url)
    if search.count == 0:
        return _Found([], await asked.number())
    if cursor is not None:
        return asked.page(await asked.rows(page_of_many if cursor.many else page_of_few, cursor), cursor)
    rows = await asked.rows(page_of_few, None)
    if rows[0][0] <= FEW:
        return asked.page(rows, None, total=rows[0][0])
    total, notes = await asked.total_of_many()
    return asked.page(await asked.rows(page_of_many, None), None, total=total, many=True, notes=notes)


@dataclass(frozen=True, slots=True)
class _Asked:
    """The statements of one search."""

    connection: Connection
    search: Search
    base_url: str

    async def rows(
        self, page: Callable[[Search, Statement, Cursor | None], Composed], cursor: Cursor | None
    ) -> list[TupleRow]:
        statement = Statement(self.base_url)
        return await self._run(page(self.search, statement, cursor), statement)

    async def number(self, at_most: int | None = None) -> int:
        statement = Statement(self.base_url)
        text = number_of_matches(self.search, statement, at_most=at_most)
        return (await self._run(text, statement))[0][0]

    async def total_of_many(self) -> tuple[int | None, tuple[Issue, ...]]:
        """The total as the client wants it, and a note if it is less exact than that."""
        match self.search.total:
            case "none":
                return None, ()
            case "accurate":
                return await self.number(), ()
            case "estimate":
                return max(await self._estimate(), FEW + 1), ()
            case _:
                counted = await self.number(at_most=EXACT_TOTAL + 1)
                if counted <= EXACT_TOTAL:
                    return counted, ()
                return max(await self._estimate(), counted), (_ESTIMATED,)

    async def _estimate(self) -> int:
        """What PostgreSQL's planner reckons from its statistics."""
        statement = Statement(self.base_url)
        text = sql.SQL("EXPLAIN (FORMAT JSON) {}").format(every_match(self.search, statement))
        (plan,) = (await self._run(text, statement))[0][0]
        return int(plan["Plan"]["Plan Rows"])

    async def _run(self, text: Composed, statement: Statement) -> list[TupleRow]:
        """Rows of a statement. Never prepared: the best plan depends on the values, as on how rare a token is."""
        result = await self.connection.execute(
            sql.SQL("{}").format(text), statement.parameters, prepare=False
        )
        return await result.fetchall()

    def page(
        self,
        rows: list[TupleRow],
        cursor: Cursor | None,
        *,
        total: int | None = None,
        many: bool = False,
        notes: tuple[Issue, ...] = (),
    ) -> _Found:
        search = self.search
        if cursor is not None:
            total, many = cursor.total, cursor.many
            if search.total == "" and many and total is not None and total > EXACT_TOTAL:
                notes = (_ESTIMATED,)
        elif search.total == "none":
            total = None
        held = [row for row in rows if row[3] is not None]
        matches = [_stored(search.resource_type, row[3:8]) for row in held[: search.count]]
        if len(held) <= search.count:
            return _Found(matches, total, notes=notes)
        snapshot: str = cursor.snapshot if cursor else rows[0][1]
        read_at: datetime = cursor.read_at if cursor else rows[0][2]
        keys = [key_of(value) for value in held[search.count - 1][8:]]
        following = Cursor(fingerprint(search), keys, snapshot, read_at, total, many)
        return _Found(matches, total, following, notes)


_ESTIMATED: Final = Issue(
    "informational",
    f"total is an estimate: there are more than {EXACT_TOTAL} matches; _total=accurate counts them all",
    severity="information",
)


def _stored(resource_type: str, row: tuple[Any, ...]) -> StoredResource:
    id, version, last_updated, interaction, body = row
    return StoredResource(resource_type, id, version, last_updated, interaction, body.encode())

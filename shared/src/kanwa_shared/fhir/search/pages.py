"""The statements that find one page of a search: id and sort keys of its matches, the first of the next page too.

With few matches all are found and then put in order. With many the page is read from an index that has the order, so
that it costs what the page costs; where no index has it, every match is looked at.
"""

from datetime import timedelta
from typing import Final

from psycopg import sql

from kanwa_shared.fhir.search.candidates import (
    Candidates,
    candidates,
    candidates_by_value,
    candidates_in_own_order,
    candidates_without_value,
    implies_a_value,
)
from kanwa_shared.fhir.search.conditions import Search, SortKey
from kanwa_shared.fhir.search.cursor import Cursor
from kanwa_shared.fhir.search.sorting import SETTLED_SECONDS, Order, after, order_of, without_value
from kanwa_shared.fhir.search.sql import Composed, Statement

FEW: Final = 1000
"""Matches that are found before they are put in order."""

_ANSWER: Final = sql.SQL(
    """WITH {found}
    SELECT {number}, pg_current_snapshot()::text, now(), page.id, v.version, v.last_updated,
           v.interaction, v.body, {keys}
    FROM (SELECT) once LEFT JOIN page ON true
    LEFT JOIN resource c ON c.resource_type = {type} AND c.id = page.id
    LEFT JOIN resource_version v ON v.resource_type = {type} AND v.id = c.id AND v.version = c.version
    ORDER BY {order}"""
)
_UNORDERED: Final = sql.SQL("found AS MATERIALIZED (SELECT r.id FROM {source} WHERE {where}{limit})")
_KEYED: Final = sql.SQL(
    "SELECT * FROM (SELECT r.id, {keys} FROM {source} WHERE {where}{fence}) keyed"
    " WHERE {beyond} ORDER BY {order} LIMIT {limit}"
)
# Of the few: the keys of all are worked out once.
_FENCE: Final = sql.SQL(" OFFSET 0")


def page_of_few(search: Search, statement: Statement, cursor: Cursor | None) -> Composed:
    """Rows of number, snapshot, time, id, version, last_updated, interaction, body and keys.

    One row without an id if nothing matches. On the first page the number counts the matches up to FEW + 1; if there
    are that many, nothing else is found and `page_of_many` has to be asked. A later page counts nothing.
    """
    order = order_of(search, statement, cursor)
    by_id = order.kinds == ["id"]
    counted = sql.SQL("(SELECT count(*) FROM found)")
    guard = sql.SQL("{} <= {}").format(counted, sql.Literal(FEW))
    source = "found r" if by_id else "found f JOIN resource r ON r.resource_type = {type} AND r.id = f.id"
    few = Candidates(
        sql.SQL(source).format(type=statement.value(search.resource_type)),
        guard if cursor is None else sql.SQL("true"),
    )
    page = _keyed(few, order, statement, cursor, search.count + 1, fence=not by_id)
    found = _unordered(candidates(search, statement, ids_alone=True), bounded=cursor is None)
    return _answer(
        search,
        statement,
        order,
        sql.SQL("{}, page AS ({})").format(found, page),
        counted if cursor is None else sql.SQL("NULL::bigint"),
    )


def _unordered(found: Candidates, *, bounded: bool) -> Composed:
    limit = sql.SQL(" LIMIT {}").format(sql.Literal(FEW + 1))
    if not bounded:
        return _UNORDERED.format(source=found.source, where=found.where, limit=sql.SQL(""))
    if not found.by_tokens:
        return _UNORDERED.format(source=found.source, where=found.where, limit=limit)
    # Planned as if all were read: a planner that knows of the limit would rather look through the table, hoping to
    # meet enough soon, and the tokens that it takes for independent may never meet. What is read stays bounded.
    return sql.SQL(
        "every AS MATERIALIZED (SELECT r.id FROM {source} WHERE {where}),"
        " found AS MATERIALIZED (SELECT id FROM every{limit})"
    ).format(source=found.source, where=found.where, limit=limit)


def page_of_many(search: Search, statement: Statement, cursor: Cursor | None) -> Composed:
    """The same rows, without a number."""
    order = order_of(search, statement, cursor)
    page = sql.SQL("page AS ({})").format(_many(search, statement, order, cursor))
    return _answer(search, statement, order, page, sql.SQL("NULL::bigint"))


def _many(search: Search, statement: Statement, order: Order, cursor: Cursor | None) -> Composed:
    limit, first = search.count + 1, search.sort[0] if search.sort else None
    if first is not None and order.kinds[1:] == ["id"]:
        if first.kind == "updated" and cursor is not None:
            return _by_time(search, statement, order, cursor, limit)
        if len(first.params) == 1 and (
            first.kind == "date" or (first.kind, first.descending) == ("string", False)
        ):
            return _by_value(search, first, statement, order, cursor, limit)
    indexed = order.kinds in (["id"], ["updated", "id"])
    found = (candidates_in_own_order if indexed else candidates)(search, statement)
    return _keyed(found, order, statement, cursor, limit, fence=not indexed)


def _by_time(search: Search, statement: Statement, order: Order, cursor: Cursor, limit: int) -> Composed:
    """What has not changed since the first page comes from the index by time; the little that has is sorted."""
    settled = sql.SQL("{}::timestamptz").format(
        statement.value(cursor.read_at - timedelta(seconds=SETTLED_SECONDS))
    )
    found = candidates_in_own_order(search, statement)
    unchanged = found.that(sql.SQL("r.last_updated < {}").format(settled))
    changed = found.that(sql.SQL("r.last_updated >= {}").format(settled))
    as_they_are = Order([sql.SQL("r.last_updated"), sql.SQL("r.id")], order.descending, order.kinds)
    parts = [
        _keyed(unchanged, as_they_are, statement, cursor, limit, fence=False),
        _keyed(changed, order, statement, cursor, limit, fence=True),
    ]
    return _first_of(parts, order, statement, limit)


def _by_value(
    search: Search, key: SortKey, statement: Statement, order: Order, cursor: Cursor | None, limit: int
) -> Composed:
    """Matches with a value come from its index; those without come last and are looked for only then."""
    of_rows = Order([sql.SQL("w.key"), sql.SQL("r.id")], order.descending, order.kinds)
    having = _keyed(
        candidates_by_value(search, key, statement), of_rows, statement, cursor, limit, fence=False
    )
    if implies_a_value(search, key):
        return having
    lacking = candidates_without_value(search, key, statement).that(
        sql.SQL("(SELECT count(*) FROM valued) < {}").format(statement.value(limit))
    )
    last = Order([without_value(key), sql.SQL("r.id")], order.descending, order.kinds)
    parts = [sql.SQL("SELECT * FROM valued"), _keyed(lacking, last, statement, cursor, limit, fence=False)]
    return sql.SQL("WITH valued AS MATERIALIZED ({}) {}").format(
        having, _first_of(parts, order, statement, limit)
    )


def _first_of(parts: list[Composed], order: Order, statement: Statement, limit: int) -> Composed:
    together = sql.SQL(" UNION ALL ").join(sql.SQL("({})").format(part) for part in parts)
    return sql.SQL("SELECT * FROM ({}) parts ORDER BY {} LIMIT {}").format(
        together, order.clause(), statement.value(limit)
    )


def _keyed(
    found: Candidates,
    order: Order,
    statement: Statement,
    cursor: Cursor | None,
    limit: int,
    *,
    fence: bool,
) -> Composed:
    return _KEYED.format(
        keys=order.selected(),
        source=found.source,
        where=found.where,
        fence=_FENCE if fence else sql.SQL(""),
        beyond=sql.SQL("true") if cursor is None else after(order, cursor, statement),
        order=order.clause(),
        limit=statement.value(limit),
    )


def _answer(
    search: Search, statement: Statement, order: Order, found: Composed, number: Composed
) -> Composed:
    return _ANSWER.format(
        found=found,
        number=number,
        keys=order.carried(),
        type=statement.value(search.resource_type),
        order=order.clause(),
    )


def number_of_matches(search: Search, statement: Statement, *, at_most: int | None = None) -> Composed:
    """The number of matches; with `at_most` counting stops there."""
    found = candidates(search, statement, ids_alone=True)
    limit = sql.SQL("") if at_most is None else sql.SQL(" LIMIT {}").format(sql.Literal(at_most))
    return sql.SQL("SELECT count(*) FROM (SELECT FROM {} WHERE {}{}) found").format(
        found.source, found.where, limit
    )


def every_match(search: Search, statement: Statement) -> Composed:
    """The matches' ids in any order: what PostgreSQL's planner is asked to estimate."""
    found = candidates(search, statement, ids_alone=True)
    return sql.SQL("SELECT r.id FROM {} WHERE {}").format(found.source, found.where)

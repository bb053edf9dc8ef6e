"""`_sort` as SQL, and the place of a page's end in that order.

A match without a value of a key comes last, in either direction.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from psycopg import sql

from kanwa_shared.errors import Invalid
from kanwa_shared.fhir.search.conditions import Search, SortKey
from kanwa_shared.fhir.search.cursor import Cursor
from kanwa_shared.fhir.search.numbers import number
from kanwa_shared.fhir.search.sql import Composed, Statement
from kanwa_shared.fhir.search.text import HIGHEST

_BY_ID: Final = SortKey("_id", "id")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SETTLED_SECONDS: Final = 60
"""No commit takes longer: what was written this much before a page was read was visible to it."""


@dataclass(frozen=True, slots=True)
class Order:
    """Select expressions of the sort keys, named k0, k1 … with the id as the last, and their directions."""

    expressions: list[Composed]
    descending: list[bool]
    kinds: list[str]

    @property
    def columns(self) -> list[Composed]:
        """The keys' names."""
        return [sql.Identifier(f"k{position}") for position in range(len(self.expressions))]

    def selected(self) -> Composed:
        """The keys for a select list."""
        pairs = zip(self.expressions, self.columns, strict=True)
        return sql.SQL(", ").join(sql.SQL("{} AS {}").format(key, name) for key, name in pairs)

    def carried(self) -> Composed:
        """The keys as a cursor takes them: a moment as seconds, which can be infinite."""
        return sql.SQL(", ").join(
            sql.SQL("extract(epoch FROM {})" if kind == "date" else "{}").format(column)
            for column, kind in zip(self.columns, self.kinds, strict=True)
        )

    def clause(self) -> Composed:
        """ORDER BY over the names."""
        return sql.SQL(", ").join(
            sql.SQL("{} DESC" if descending else "{}").format(column)
            for column, descending in zip(self.columns, self.descending, strict=True)
        )


def order_of(search: Search, statement: Statement, cursor: Cursor | None) -> Order:
    """The order of a search. Keys after the id say nothing more and are left out."""
    keys: list[SortKey] = []
    for key in search.sort:
        keys.append(key)
        if key.kind == "id":
            break
    else:
        keys.append(_BY_ID)
    expressions = [_expression(key, search.resource_type, statement, cursor) for key in keys]
    return Order(expressions, [key.descending for key in keys], [key.kind for key in keys])


def _expression(key: SortKey, resource_type: str, statement: Statement, cursor: Cursor | None) -> Composed:
    match key.kind:
        case "id":
            return sql.SQL("r.id")
        case "updated":
            return _updated(statement, cursor)
        case "ranked":
            return _ranked(key, resource_type, statement)
        case "token":
            return _token(key, resource_type, statement)
        case "string":
            return _string(key, statement)
        case "date":
            return _extreme(key, "date", statement)
        case "quantity":
            return _extreme(key, "quantity", statement)


def without_value(key: SortKey) -> Composed:
    """What stands for the value of a resource that has none, so that it comes last."""
    if key.kind in ("string", "token"):
        return sql.SQL('{} COLLATE "C"').format(sql.Literal("" if key.descending else HIGHEST))
    infinity = sql.Literal("-infinity" if key.descending else "infinity")
    return sql.SQL("{}::timestamptz" if key.kind == "date" else "{}::numeric").format(infinity)


def _extreme(key: SortKey, table: str, statement: Statement) -> Composed:
    """Where the earliest or smallest value starts going up, the latest or greatest going down (R4, "sort")."""
    return sql.SQL(
        "coalesce((SELECT {value} FROM {table} x WHERE x.resource_type = r.resource_type AND x.id = r.id"
        " AND x.param = ANY({params})), {last})"
    ).format(
        value=sql.SQL("max(x.low)" if key.descending else "min(x.low)"),
        table=sql.Identifier(f"resource_{table}"),
        params=statement.texts(key.params),
        last=without_value(key),
    )


def _string(key: SortKey, statement: Statement) -> Composed:
    return sql.SQL(
        "coalesce((SELECT left({value}, 120) FROM resource_string x WHERE x.resource_type = r.resource_type"
        " AND x.id = r.id AND x.param = ANY({params})), {last})"
    ).format(
        value=sql.SQL("max(x.normalised)" if key.descending else "min(x.normalised)"),
        params=statement.texts(key.params),
        last=without_value(key),
    )


def _token(key: SortKey, resource_type: str, statement: Statement) -> Composed:
    prefixes = [f"{resource_type}.{param}=" for param in key.params]
    return sql.SQL(
        """coalesce((SELECT {value} FROM unnest(r.tokens) token, unnest({prefixes}) prefix
        WHERE starts_with(token, prefix)), {last})"""
    ).format(
        value=sql.SQL(
            """max(substr(token, length(prefix) + 1) COLLATE "C")"""
            if key.descending
            else """min(substr(token, length(prefix) + 1) COLLATE "C")"""
        ),
        prefixes=statement.texts(prefixes),
        last=without_value(key),
    )


def _ranked(key: SortKey, resource_type: str, statement: Statement) -> Composed:
    """The rank of the first code that is there; a resource without any has the last rank."""
    cases = [
        sql.SQL("WHEN r.tokens @> {} THEN {}").format(
            statement.texts([f"{resource_type}.{key.code}={code}"]), sql.Literal(rank)
        )
        for rank, code in enumerate(key.ranked)
    ]
    last = sql.Literal(len(key.ranked) - 1)
    return sql.SQL("CASE {} ELSE {} END").format(sql.SQL(" ").join(cases), last)


# The 64-bit transaction id nearest to `near` that ends in the 32 bits of xmin.
_XID8: Final = sql.SQL(
    "greatest(0, {near}::bigint - 2147483648 + ((v.xmin::text::bigint - {near}::bigint + 2147483648)"
    " %% 4294967296 + 4294967296) %% 4294967296)"
)


def _updated(statement: Statement, cursor: Cursor | None) -> Composed:
    """`meta.lastUpdated` as the first page saw it: a resource changed meanwhile would be met twice or never.

    A resource that the first page could not see keeps the time of its creation.
    """
    if cursor is None:
        return sql.SQL("r.last_updated")
    return sql.SQL(
        """(CASE WHEN r.last_updated < {read_at}::timestamptz - {settled}::interval
        THEN r.last_updated ELSE (
          SELECT coalesce(max(v.last_updated) FILTER (WHERE pg_visible_in_snapshot(
                   {xid8}::text::xid8, {snapshot}::pg_snapshot)), min(v.last_updated))
          FROM resource_version v WHERE v.resource_type = r.resource_type AND v.id = r.id) END)"""
    ).format(
        read_at=statement.value(cursor.read_at),
        settled=sql.Literal(f"{SETTLED_SECONDS} seconds"),
        xid8=_XID8.format(near=statement.value(int(cursor.snapshot.split(":")[1]))),
        snapshot=statement.value(cursor.snapshot),
    )


def after(order: Order, cursor: Cursor, statement: Statement) -> Composed:
    """Whether a row comes after the cursor. Raises Invalid when its values are not of the keys' kinds."""
    if len(cursor.keys) != len(order.kinds):
        raise Invalid("_cursor: it belongs to another order; start again without _cursor")
    values = [_value(kind, key, statement) for kind, key in zip(order.kinds, cursor.keys, strict=True)]
    arms: list[Composed] = []
    for position, (column, value) in enumerate(zip(order.columns, values, strict=True)):
        same = [
            sql.SQL("{} = {}").format(order.columns[earlier], values[earlier]) for earlier in range(position)
        ]
        further = sql.SQL("{} < {}" if order.descending[position] else "{} > {}").format(column, value)
        arms.append(sql.SQL("({})").format(sql.SQL(" AND ").join([*same, further])))
    later = sql.SQL("({})").format(sql.SQL(" OR ").join(arms))
    # Follows from the rest; an index can use it.
    edge = sql.SQL("{} <= {}" if order.descending[0] else "{} >= {}").format(order.columns[0], values[0])
    return sql.SQL("{} AND {}").format(edge, later)


def _value(kind: str, key: str | int, statement: Statement) -> Composed:
    if kind in ("id", "string", "token"):
        return sql.SQL("{}::text").format(statement.value(str(key)))
    if kind == "ranked":
        if not isinstance(key, int) or not 0 <= key < 1000:
            raise Invalid("_cursor: it holds no rank; start again without _cursor")
        return sql.SQL("{}::integer").format(statement.value(key))
    if kind == "updated":
        return sql.SQL("{}::timestamptz").format(statement.value(_moment(str(key))))
    text = str(key)
    if text in ("Infinity", "-Infinity"):
        return sql.SQL("{}::timestamptz" if kind == "date" else "{}::numeric").format(statement.value(text))
    try:
        amount = number(text)
        value = _EPOCH + timedelta(microseconds=int(amount * 1_000_000)) if kind == "date" else amount
    except (ValueError, OverflowError):
        raise Invalid("_cursor: it holds no number; start again without _cursor") from None
    return sql.SQL("{}::timestamptz" if kind == "date" else "{}::numeric").format(statement.value(value))


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise Invalid("_cursor: it holds no time; start again without _cursor") from None


def key_of(value: Any) -> str | int:
    """A key's value as a cursor holds it."""
    return value if isinstance(value, int) else str(value)

"""Where the matches of a search are read from: the FROM and WHERE of every statement about them."""

from dataclasses import dataclass, replace

from psycopg import sql

from kanwa_shared.fhir.search.conditions import (
    AllOf,
    Condition,
    HasRange,
    HasTokens,
    Search,
    SortKey,
)
from kanwa_shared.fhir.search.judging import flattened, leaves_few
from kanwa_shared.fhir.search.sql import Composed, Statement

RESOURCE = sql.Identifier("r")


@dataclass(frozen=True, slots=True)
class Candidates:
    """`source` gives rows named `r`; those that satisfy `where` are the matches, each once.

    `by_tokens`: only tokens are asked for, so that the token index answers alone.
    """

    source: Composed
    where: Composed
    by_tokens: bool = False

    def that(self, further: Composed) -> "Candidates":
        """Those of them that satisfy one more condition."""
        where = sql.SQL("{} AND {}").format(self.where, further)
        return replace(self, where=where)


def candidates(search: Search, statement: Statement, *, ids_alone: bool = False) -> Candidates:
    """The matches of `search`; with `ids_alone` `r` need have nothing but the id.

    A range that a resource can be in only once is read from its own index, which has rows of current resources
    alone, so that ids come without a look at the resource.
    """
    conditions = _conditions(search)
    read = _range_to_read(conditions)
    if read is None and ids_alone and _tokens_alone(conditions):
        # Tokens name the type; asked for too, it would be read from another index and then intersected.
        where = sql.SQL("NOT r.deleted AND {}").format(_where_alone(search, conditions, statement))
        return Candidates(sql.SQL("resource r"), where, by_tokens=True)
    if read is None:
        return Candidates(sql.SQL("resource r"), _where(search, conditions, statement))
    rows = statement.range_rows(read, search.resource_type)
    others = [condition for condition in conditions if condition is not read]
    if ids_alone and not others:
        return Candidates(sql.SQL("({}) r").format(rows), sql.SQL("true"))
    source = sql.SQL("({}) x JOIN resource r ON r.id = x.id").format(rows)
    return Candidates(source, _where(search, others, statement))


def candidates_in_own_order(search: Search, statement: Statement) -> Candidates:
    """The matches as resources whose every condition is looked up, for reading many of them in an order of theirs."""
    where = _where(search, _conditions(search), statement, driven=True)
    return Candidates(sql.SQL("resource r"), where)


def candidates_by_value(search: Search, key: SortKey, statement: Statement) -> Candidates:
    """The matches that have a value of `key`, beside the row `w` that holds it: its least, going down its greatest."""
    conditions = _conditions(search)
    read = _range_to_read(conditions)
    if read is not None and read.table == key.kind and read.params == key.params:
        rows = statement.range_rows_in_order(read, search.resource_type, descending=key.descending)
        conditions.remove(read)
    else:
        rows = statement.sort_rows(key, search.resource_type)
    source = sql.SQL("({}) w JOIN resource r ON r.id = w.id").format(rows)
    return Candidates(source, _where(search, conditions, statement, driven=True))


def implies_a_value(search: Search, key: SortKey) -> bool:
    """Whether every match has a value of `key`."""
    return any(
        isinstance(condition, HasRange) and condition.table == key.kind and condition.params == key.params
        for condition in _conditions(search)
    )


def candidates_without_value(search: Search, key: SortKey, statement: Statement) -> Candidates:
    """The matches that have no value of `key`."""
    found = _where(search, _conditions(search), statement, driven=True)
    rows = statement.sort_rows(key, search.resource_type)
    where = sql.SQL("{} AND NOT EXISTS (SELECT FROM ({}) w WHERE w.id = r.id)").format(found, rows)
    return Candidates(sql.SQL("resource r"), where)


def _conditions(search: Search) -> list[Condition]:
    return list(flattened(AllOf((search.condition,))))


def _where(
    search: Search, conditions: list[Condition], statement: Statement, *, driven: bool = False
) -> Composed:
    return sql.SQL("r.resource_type = {} AND NOT r.deleted AND {}").format(
        statement.value(search.resource_type), _where_alone(search, conditions, statement, driven=driven)
    )


def _where_alone(
    search: Search, conditions: list[Condition], statement: Statement, *, driven: bool = False
) -> Composed:
    return statement.where(AllOf(tuple(conditions)), search.resource_type, RESOURCE, driven=driven)


def _tokens_alone(conditions: list[Condition]) -> bool:
    return bool(conditions) and all(isinstance(condition, HasTokens) for condition in conditions)


def _range_to_read(conditions: list[Condition]) -> HasRange | None:
    if any(leaves_few(condition) for condition in conditions):
        return None
    return next(
        (
            condition
            for condition in conditions
            if isinstance(condition, HasRange)
            and condition.single
            and len(condition.tests) == 1
            and len(condition.params) == 1
        ),
        None,
    )

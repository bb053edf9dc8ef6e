"""Conditions as SQL. Values are parameters only; the text is composed of literals of this module.

Every condition narrows by an index: tokens by the GIN index, ranges and strings by their tables' index on
(type, param, value), references by theirs. `:not` and `:missing=true` alone leave the type to scan.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final, assert_never

from psycopg import sql

from kanwa_shared.fhir.search.conditions import (
    AllOf,
    AnyOf,
    Condition,
    HasId,
    HasRange,
    HasRow,
    HasString,
    HasText,
    HasTokens,
    Not,
    PointedToBy,
    PointsTo,
    SortKey,
    Updated,
)
from kanwa_shared.fhir.search.judging import flattened, has_steps, leaves_few
from kanwa_shared.fhir.search.ranges import Bound, RangeTest
from kanwa_shared.fhir.search.references import local_tokens
from kanwa_shared.fhir.search.text import HIGHEST, normalised
from kanwa_shared.fhir.search.values import UNIT_SEPARATOR

Composed = sql.Composable
INDEXED_CHARACTERS: Final = 120
"""Of a string in its index; see the migration."""

_TABLES: Final[dict[str, sql.SQL]] = {
    "date": sql.SQL("resource_date"),
    "quantity": sql.SQL("resource_quantity"),
    "string": sql.SQL("resource_string"),
}
_OPERATORS: Final = {"<": sql.SQL("<"), "<=": sql.SQL("<="), ">": sql.SQL(">"), ">=": sql.SQL(">=")}
_COLUMNS: Final = {"low": sql.SQL("x.low"), "high": sql.SQL("x.high")}

_PLAIN: Final = sql.SQL(
    "btrim(regexp_replace(lower(normalize(regexp_replace(normalize(({})::text, NFKD), '[\u0300-\u036f]', '', 'g'),"
    " NFKC)), '\\s+', ' ', 'g'))"
)


class Statement:
    """Collects the parameters of one statement while its text is composed."""

    def __init__(self, base_url: str):
        self.base_url = base_url
        self.parameters: dict[str, Any] = {}
        self._aliases = 0

    def value(self, value: Any) -> Composed:
        """A placeholder for `value`."""
        name = f"p{len(self.parameters)}"
        self.parameters[name] = value
        return sql.Placeholder(name)

    def texts(self, values: Iterable[str]) -> Composed:
        """A placeholder for an array of texts."""
        return sql.SQL("{}::text[]").format(self.value(list(values)))

    def alias(self) -> sql.Identifier:
        """A new name for a resource further along a chain."""
        self._aliases += 1
        return sql.Identifier(f"r{self._aliases}")

    def where(
        self, condition: Condition, resource_type: str, resource: sql.Identifier, *, driven: bool = False
    ) -> Composed:
        """`condition` on the row of `resource` that the alias `resource` names.

        `driven`: another condition leaves few rows, so that this one is best looked up for each of them.
        """
        match condition:
            case AllOf():
                return self._all(condition, resource_type, resource, driven)
            case AnyOf(conditions):
                parts = [self.where(part, resource_type, resource, driven=True) for part in conditions]
                return joined(" OR ", parts, "false")
            case Not(inner):
                return sql.SQL("NOT ({})").format(self.where(inner, resource_type, resource, driven=True))
            case HasTokens():
                return self._tokens(condition, resource)
            case HasId(ids):
                return sql.SQL("{}.id = ANY({})").format(resource, self.texts(ids))
            case Updated(tests):
                return self._updated(tests, resource)
            case HasRange():
                tests = [arm for test in condition.tests for arm in self._arms(test)]
                return self._rows(resource, resource_type, condition, tests, driven)
            case HasString():
                values = [self._string(value, condition.mode) for value in condition.values]
                return self._rows(resource, resource_type, condition, values, driven)
            case HasText():
                return self._text(condition, resource)
            case HasRow():
                return self._rows(resource, resource_type, condition, [sql.SQL("true")], driven)
            case PointsTo():
                return self._points_to(condition, resource, driven)
            case PointedToBy():
                return self._pointed_to_by(condition, resource, driven)
            case _:
                assert_never(condition)

    def _all(self, condition: AllOf, resource_type: str, resource: sql.Identifier, driven: bool) -> Composed:
        """A conjunction; tokens that must all be there make one probe of the GIN index."""
        flat = list(flattened(condition))
        driven = driven or any(leaves_few(part) for part in flat)
        together: list[str] = []
        parts: list[Composed] = []
        for part in flat:
            if isinstance(part, HasTokens) and len(part.any_of) == 1:
                together += local_tokens(part, self.base_url)
            else:
                parts.append(self.where(part, resource_type, resource, driven=driven))
        if together:
            parts.insert(0, sql.SQL("{}.tokens @> {}").format(resource, self.texts(together)))
        return joined(" AND ", parts, "true")

    def _tokens(self, condition: HasTokens, resource: sql.Identifier) -> Composed:
        texts = local_tokens(condition, self.base_url)
        operator = sql.SQL("@>" if len(texts) == 1 else "&&")
        return sql.SQL("{}.tokens {} {}").format(resource, operator, self.texts(texts))

    def _updated(self, tests: tuple[RangeTest, ...], resource: sql.Identifier) -> Composed:
        moment = sql.SQL("{}.last_updated").format(resource)
        arms = [
            joined(" AND ", [self._moment(bound, moment) for bound in arm.bounds], "true")
            for test in tests
            for arm in test.arms
            if not arm.wide
        ]
        return joined(" OR ", arms, "false")

    def _moment(self, bound: Bound, moment: Composed) -> Composed:
        """A bound on a moment, which ends a microsecond after it starts: `high` above x means at least x."""
        operator = bound.operator
        if bound.column == "high":
            operator = ">=" if operator == ">" else "<"
        return sql.SQL("{} {} {}").format(moment, _OPERATORS[operator], self.value(bound.value))

    def _rows(
        self,
        resource: sql.Identifier,
        resource_type: str,
        condition: HasRange | HasString | HasRow,
        tests: list[Composed],
        driven: bool,
    ) -> Composed:
        """Whether the condition's index table has a row that passes some test.

        Where nothing else leaves few rows, one SELECT for each test: only so does the planner see that two bounds
        make a range. Else one with OR, which it can look up for each of those rows.
        """
        if driven:
            tests = [joined(" OR ", tests, "false")]
        rows = self._union(resource_type, condition, tests)
        return sql.SQL("{}.id IN ({})").format(resource, rows)

    def range_rows(self, condition: HasRange, resource_type: str) -> Composed:
        """Ids of resources in a range, as a SELECT: each once if a resource has one row at most."""
        (test,) = condition.tests
        return self._union(resource_type, condition, list(self._arms(test)))

    def range_rows_in_order(self, condition: HasRange, resource_type: str, *, descending: bool) -> Composed:
        """The same with `key`, the low end. Several arms are each in the order of their index, so that they merge."""
        (test,) = condition.tests
        row = sql.SQL("(SELECT x.id, x.low AS key FROM {} x WHERE x.resource_type = {} AND {} AND {}{})")
        arms = list(self._arms(test))
        order = sql.SQL(" ORDER BY x.low DESC, x.id" if descending else " ORDER BY x.low, x.id")
        ordered = order if len(arms) > 1 else sql.SQL("")
        table, named = _TABLES[condition.table], self._named(condition.params)
        return sql.SQL(" UNION ALL ").join(
            row.format(table, self.value(resource_type), named, arm, ordered) for arm in arms
        )

    def sort_rows(self, key: SortKey, resource_type: str) -> Composed:
        """Id and `key`, the value to sort by, of resources that have one: the least, going down the greatest."""
        value, other = (
            (sql.SQL("left(x.normalised, 120)"), sql.SQL("left(o.normalised, 120)"))
            if key.kind == "string"
            else (sql.SQL("x.low"), sql.SQL("o.low"))
        )
        first = sql.SQL("true")
        if not key.single:
            first = sql.SQL(
                "NOT EXISTS (SELECT FROM {table} o WHERE o.resource_type = x.resource_type AND o.id = x.id"
                " AND o.param = x.param AND ({other} {before} {value} OR ({other} = {value} AND o.ctid < x.ctid)))"
            ).format(
                table=_TABLES[key.kind],
                other=other,
                value=value,
                before=sql.SQL(">" if key.descending else "<"),
            )
        return sql.SQL(
            "SELECT x.id, {value} AS key FROM {table} x WHERE x.resource_type = {type} AND {named} AND {first}"
        ).format(
            value=value,
            table=_TABLES[key.kind],
            type=self.value(resource_type),
            named=self._named(key.params),
            first=first,
        )

    def _union(
        self, resource_type: str, condition: HasRange | HasString | HasRow, tests: list[Composed]
    ) -> Composed:
        table = "string" if isinstance(condition, HasString) else condition.table
        row = sql.SQL("SELECT x.id FROM {} x WHERE x.resource_type = {} AND {}").format(
            _TABLES[table], self.value(resource_type), self._named(condition.params)
        )
        return sql.SQL(" UNION ALL ").join(sql.SQL("{} AND {}").format(row, test) for test in tests)

    def _named(self, params: tuple[str, ...]) -> Composed:
        if len(params) == 1:
            return sql.SQL("x.param = {}").format(self.value(params[0]))
        return sql.SQL("x.param = ANY({})").format(self.texts(params))

    def _arms(self, test: RangeTest) -> Iterator[Composed]:
        for arm in test.arms:
            parts: list[Composed] = [
                sql.SQL("{} {} {}").format(
                    _COLUMNS[bound.column], _OPERATORS[bound.operator], self.value(bound.value)
                )
                for bound in arm.bounds
            ]
            if arm.wide:
                parts.append(sql.SQL("x.wide"))
            if test.system is not None:
                parts.append(sql.SQL("x.system = {}").format(self.value(test.system)))
            if test.code is not None:
                parts.append(self._unit(test.code, test.unit_too))
            yield joined(" AND ", parts, "true")

    def _unit(self, code: str, unit_too: bool) -> Composed:
        separator = sql.Literal(UNIT_SEPARATOR)
        held = sql.SQL("split_part(x.code, {}, 1) = {}").format(separator, self.value(code))
        if not unit_too:
            return held
        unit = sql.SQL("split_part(x.code, {}, 2) = {}").format(separator, self.value(code))
        return sql.SQL("({} OR {})").format(held, unit)

    def _string(self, value: str, mode: str) -> Composed:
        if mode == "contains":
            return sql.SQL("strpos(x.normalised, {}) > 0").format(self.value(value))
        start = (normalised(value) if mode == "exact" else value)[:INDEXED_CHARACTERS]
        indexed = sql.SQL("left(x.normalised, 120)")
        if mode == "exact":
            return sql.SQL("({} = {} AND x.exact = {})").format(indexed, self.value(start), self.value(value))
        within = sql.SQL("({indexed} >= {low} AND {indexed} < {high} AND starts_with(x.normalised, {whole}))")
        return within.format(
            indexed=indexed, low=self.value(start), high=self.value(start + HIGHEST), whole=self.value(value)
        )

    def _text(self, condition: HasText, resource: sql.Identifier) -> Composed:
        """Both sides are compared without case, accents, forms of width and doubled spaces by the same expression."""
        values: list[Composed] = [
            sql.SQL("starts_with({}, {})").format(
                _PLAIN.format(sql.SQL("t.text #>> '{}'")), _PLAIN.format(self.value(value))
            )
            for value in condition.values
        ]
        texts = sql.SQL(" UNION ALL ").join(
            sql.SQL("SELECT jsonb_path_query(v.body::jsonb, {}::jsonpath) AS text").format(self.value(path))
            for path in condition.paths
        )
        return sql.SQL(
            "EXISTS (SELECT FROM resource_version v, LATERAL ({texts}) t WHERE v.resource_type = {r}.resource_type"
            " AND v.id = {r}.id AND v.version = {r}.version AND {any})"
        ).format(texts=texts, r=resource, any=joined(" OR ", values, "false"))

    def _points_to(self, condition: PointsTo, resource: sql.Identifier, driven: bool) -> Composed:
        return sql.SQL(
            "EXISTS (SELECT FROM resource_reference x"
            " WHERE x.resource_type = {r}.resource_type AND x.id = {r}.id"
            " AND x.param = {param} AND x.target_type = {type} AND {further})"
        ).format(
            r=resource,
            param=self.value(condition.param),
            type=self.value(condition.target_type),
            further=self._further(condition.condition, condition.target_type, sql.SQL("x.target_id"), driven),
        )

    def _pointed_to_by(self, condition: PointedToBy, resource: sql.Identifier, driven: bool) -> Composed:
        return sql.SQL(
            "EXISTS (SELECT FROM resource_reference x WHERE x.target_type = {r}.resource_type"
            " AND x.target_id = {r}.id AND x.param = {param} AND x.resource_type = {type} AND {further})"
        ).format(
            r=resource,
            param=self.value(condition.param),
            type=self.value(condition.source_type),
            further=self._further(condition.condition, condition.source_type, sql.SQL("x.id"), driven),
        )

    def _further(self, condition: Condition, resource_type: str, id: Composed, driven: bool) -> Composed:
        """`condition` on the resource at the other end of a reference, which has `id`.

        One step is left to the planner, which goes from the rarer end. What lies further is evaluated once,
        from its far end: on tables without statistics the planner joins several steps in ruinous orders.
        """
        other = self.alias()
        # Few tokens name the type themselves; asked for too, it would be read from another index and intersected.
        typed = (
            sql.SQL("")
            if isinstance(condition, HasTokens) and condition.rare
            else sql.SQL("{}.resource_type = {} AND ").format(other, self.value(resource_type))
        )
        text = sql.SQL("SELECT {r}.id FROM resource {r} WHERE {typed}NOT {r}.deleted AND {inner}").format(
            r=other, typed=typed, inner=self.where(condition, resource_type, other)
        )
        if has_steps(condition):
            return sql.SQL("{} = ANY(ARRAY({}))").format(id, text)
        return sql.SQL("{} IN ({})").format(id, text)


def joined(operator: str, parts: list[Composed], empty: str) -> Composed:
    """`parts` with AND or OR between them."""
    words = {" AND ": sql.SQL(" AND "), " OR ": sql.SQL(" OR ")}
    if not parts:
        return sql.SQL("true") if empty == "true" else sql.SQL("false")
    return parts[0] if len(parts) == 1 else sql.SQL("({})").format(words[operator].join(parts))

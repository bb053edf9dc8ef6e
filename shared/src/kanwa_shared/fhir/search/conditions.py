"""What a search asks of a resource, as a tree that knows neither query strings nor SQL."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from kanwa_shared.errors import Issue
from kanwa_shared.fhir.search.ranges import RangeTest


@dataclass(frozen=True, slots=True)
class HasTokens:
    """Any of these whole token texts.

    `reference`: absolute URLs of this server mean relative ones. `rare`: few resources have them, as with
    references and identifiers, so that the search had better start there.
    """

    any_of: tuple[str, ...]
    reference: bool = False
    rare: bool = False


@dataclass(frozen=True, slots=True)
class HasRange:
    """A date, number or quantity under any of the names `params` that passes any of the tests.

    `single`: a resource has at most one such row.
    """

    table: Literal["date", "quantity"]
    params: tuple[str, ...]
    tests: tuple[RangeTest, ...]
    single: bool = False


@dataclass(frozen=True, slots=True)
class HasString:
    """A string under any of the names `params`. `values` are normalised, for `exact` as written."""

    params: tuple[str, ...]
    mode: Literal["starts", "exact", "contains"]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HasText:
    """A text at one of the SQL/JSON paths `paths` of the resource that begins with one of `values`."""

    paths: tuple[str, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HasRow:
    """Any row at all in an index table."""

    table: Literal["date", "quantity", "string"]
    params: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HasId:
    """One of these logical ids."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Updated:
    """`meta.lastUpdated`, a moment, passes any of the tests."""

    tests: tuple[RangeTest, ...]


@dataclass(frozen=True, slots=True)
class PointsTo:
    """A reference under the name `param` to a resource of a type that satisfies a condition (chaining)."""

    param: str
    target_type: str
    condition: "Condition"


@dataclass(frozen=True, slots=True)
class PointedToBy:
    """A resource of `source_type` that satisfies a condition refers here under the name `param` (`_has`)."""

    source_type: str
    param: str
    condition: "Condition"


@dataclass(frozen=True, slots=True)
class Not:
    """The condition does not hold."""

    condition: "Condition"


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every condition holds; without conditions: always."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Some condition holds; without conditions: never."""

    conditions: tuple["Condition", ...]


Condition: TypeAlias = (
    HasTokens
    | HasRange
    | HasString
    | HasText
    | HasRow
    | HasId
    | Updated
    | PointsTo
    | PointedToBy
    | Not
    | AllOf
    | AnyOf
)

ALWAYS = AllOf(())
NEVER = AnyOf(())


@dataclass(frozen=True, slots=True)
class SortKey:
    """One `_sort` key: where its value is found, and the direction.

    `ranked` lists codes in the order in which they come, for keys whose alphabet is not their order. `single`: a
    resource has at most one value.
    """

    code: str
    kind: Literal["id", "updated", "date", "quantity", "string", "token", "ranked"]
    params: tuple[str, ...] = ()
    descending: bool = False
    ranked: tuple[str, ...] = ()
    single: bool = False


@dataclass(frozen=True, slots=True)
class Include:
    """One `_include` or `_revinclude`: references of `source_type` under the names `params` (None: any name).

    `target_type` "" for any. `reverse`: the sources are added, not the targets. `iterate`: also from
    resources that were added.
    """

    source_type: str
    params: tuple[str, ...] | None
    target_type: str = ""
    reverse: bool = False
    iterate: bool = False


Total = Literal["none", "estimate", "accurate", ""]
"""How exactly a client wants to know the number of matches; "" if it does not say."""

Summary = Literal["true", "text", "data", "count", "false"]


@dataclass(frozen=True, slots=True)
class Search:
    """A query that was understood."""

    resource_type: str
    condition: Condition
    sort: tuple[SortKey, ...]
    count: int
    includes: tuple[Include, ...] = ()
    total: Total = ""
    summary: Summary = "false"
    elements: tuple[str, ...] = ()
    honoured: tuple[tuple[str, str], ...] = ()
    ignored: tuple[Issue, ...] = ()
    cursor: str = ""

"""From the parameters of a query string to a `Search`.

https://hl7.org/fhir/R4/search.html
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Final

from kanwa_shared.errors import Invalid, Issue, NotSupported
from kanwa_shared.fhir.search.conditions import (
    AllOf,
    Condition,
    HasRange,
    Include,
    Search,
    SortKey,
    Summary,
    Total,
)
from kanwa_shared.fhir.search.definitions import parameters_of
from kanwa_shared.fhir.search.matching import Reader
from kanwa_shared.fhir.search.ordering import includes_of, sort_keys
from kanwa_shared.fhir.search.ranges import all_of

DEFAULT_COUNT: Final = 50
MAX_COUNT: Final = 1000
MAX_PARAMETERS: Final = 100
MAX_JOINED_ARMS: Final = 12
_NO_TEXT: Final = re.compile("[\x00\ud800-\udfff]")

ACCEPTED: Final = frozenset({"_format", "_pretty", "_totalMethod"})
"""Habits of known clients that change nothing in what is found; `_format` is the REST layer's."""


@dataclass(slots=True)
class _Draft:
    """A search while its parameters are read."""

    resource_type: str
    max_count: int
    count: int
    conditions: list[Condition] = field(default_factory=lambda: [])
    sort: tuple[SortKey, ...] = ()
    includes: list[Include] = field(default_factory=lambda: [])
    total: Total = ""
    summary: Summary = "false"
    elements: tuple[str, ...] = ()
    cursor: str = ""
    honoured: list[tuple[str, str]] = field(default_factory=lambda: [])
    ignored: list[Issue] = field(default_factory=lambda: [])


def parse_search(
    resource_type: str,
    params: list[tuple[str, str]],
    *,
    lenient: bool = False,
    ignore_empty: bool = False,
    default_count: int = DEFAULT_COUNT,
    max_count: int = MAX_COUNT,
    now: datetime | None = None,
    zone: tzinfo = UTC,
) -> Search:
    """Read the decoded name-value pairs of a query on `resource_type`.

    `now` is what `ap` measures dates from; `zone` is the time zone of dates that have none. Raises
    NotSupported for parameters, modifiers and values of them that this server has not, all at once, unless
    `lenient`: then they are left out and listed in `Search.ignored`. Raises Invalid for malformed values, all
    at once too.

    `ignore_empty`: a parameter without a value is left out and listed in `Search.ignored`, as R4 has it. The
    condition of a write refuses it: what is left would match more than was meant.
    """
    if not parameters_of(resource_type):
        raise NotSupported(f"{resource_type} is not a resource type that can be searched")
    if len(params) > MAX_PARAMETERS:
        raise too_many_parameters()
    draft = _Draft(resource_type, max_count, min(default_count, max_count))
    reader = Reader(now or datetime.now(UTC), zone)
    refused: list[Issue] = []
    malformed: list[Issue] = []
    for name, value in params:
        if value == "" and ignore_empty:
            draft.ignored.append(_empty(name))
            continue
        try:
            _read(draft, reader, name, value)
        except NotSupported as error:
            refused += error.issues
        except Invalid as error:
            malformed += error.issues
    if malformed:
        raise Invalid([*malformed, *([] if lenient else refused)])
    if refused and not lenient:
        raise NotSupported(refused)
    draft.ignored += [
        Issue(issue.code, f"ignored: {issue.diagnostics}", severity="warning") for issue in refused
    ]
    return _finished(draft)


def too_many_parameters() -> Invalid:
    """What a search of more than `MAX_PARAMETERS` parameters is refused with."""
    return Invalid(
        f"a search has at most {MAX_PARAMETERS} parameters; join values that are alternatives by commas",
        code="too-costly",
    )


def _read(draft: _Draft, reader: Reader, name: str, value: str) -> None:
    if _NO_TEXT.search(name + value):
        raise Invalid(f"{_NO_TEXT.sub('?', name)}: NUL characters and lone surrogates are no text")
    code, _, modifier = name.partition(":")
    control = _CONTROLS.get(code)
    if control is not None:
        if modifier and code not in _READ_THEIR_MODIFIER:
            raise NotSupported(f"{name}: {code} has no modifiers; write {code}={value}")
        control(draft, name, value)
        return
    if name in ACCEPTED:
        draft.honoured.append((name, value))
        return
    if value == "":
        raise Invalid(f"{name}: it has no value; leave the parameter out or give it one")
    draft.conditions.append(reader.condition(draft.resource_type, name, value))
    draft.honoured.append((name, value))


def _empty(name: str) -> Issue:
    text = f"ignored: {_NO_TEXT.sub('?', name)} has no value, so nothing was asked by it"
    return Issue("informational", text, severity="warning")


def _finished(draft: _Draft) -> Search:
    return Search(
        resource_type=draft.resource_type,
        condition=AllOf(tuple(_merged(draft.conditions))),
        sort=draft.sort,
        count=0 if draft.summary == "count" else draft.count,
        includes=tuple(draft.includes),
        total=draft.total,
        summary=draft.summary,
        elements=draft.elements,
        honoured=tuple(draft.honoured),
        ignored=tuple(draft.ignored),
        cursor=draft.cursor,
    )


def _merged(conditions: list[Condition]) -> list[Condition]:
    """Join tests of one parameter that has at most one row, so that `ge…&lt…` is one range of the index."""
    merged: list[Condition] = []
    ranges: dict[tuple[str, ...], list[HasRange]] = {}
    for condition in conditions:
        if isinstance(condition, HasRange) and condition.single and len(condition.tests) == 1:
            test = condition.tests[0]
            unit = (str(test.system), str(test.code), str(test.unit_too))
            ranges.setdefault((*condition.params, *unit), []).append(condition)
        else:
            merged.append(condition)
    for held in ranges.values():
        for together in _joinable(held):
            joined = all_of([condition.tests[0] for condition in together])
            merged.append(HasRange(held[0].table, held[0].params, (joined,), single=True))
    return merged


def _joinable(held: list[HasRange]) -> list[list[HasRange]]:
    """The tests in groups that have few arms when joined: `ne` has two, so that twenty of them have a million."""
    groups: list[list[HasRange]] = []
    arms = 1
    for condition in held:
        own = len(condition.tests[0].arms)
        arms *= own
        if not groups or arms > MAX_JOINED_ARMS:
            groups.append([])
            arms = own
        groups[-1].append(condition)
    return groups


def _count(draft: _Draft, name: str, value: str) -> None:
    if not value.isdecimal() or len(value) > 9:
        raise Invalid(f"{name}={value}: expected a whole number, 0 or more; leave it out for the default")
    draft.count = min(int(value), draft.max_count)
    draft.honoured.append((name, value))


def _sort(draft: _Draft, name: str, value: str) -> None:
    if name != "_sort":
        raise NotSupported(
            f"{name} is DSTU2's way of sorting; in R4 write _sort=date, or _sort=-date for the reverse order"
        )
    draft.sort = sort_keys(draft.resource_type, value)
    draft.honoured.append((name, value))


def _include(draft: _Draft, name: str, value: str) -> None:
    draft.includes += includes_of(draft.resource_type, name, value)
    draft.honoured.append((name, value))


def _total(draft: _Draft, name: str, value: str) -> None:
    allowed: tuple[Total, ...] = ("none", "estimate", "accurate")
    _one_of(name, value, allowed)
    draft.total = next(total for total in allowed if total == value)
    draft.honoured.append((name, value))


def _summary(draft: _Draft, name: str, value: str) -> None:
    allowed: tuple[Summary, ...] = ("true", "text", "data", "count", "false")
    _one_of(name, value, allowed)
    draft.summary = next(summary for summary in allowed if summary == value)
    draft.honoured.append((name, value))


def _elements(draft: _Draft, name: str, value: str) -> None:
    draft.elements += tuple(
        element.strip().removeprefix(f"{draft.resource_type}.")
        for element in value.split(",")
        if element.strip()
    )
    draft.honoured.append((name, value))


def _cursor(draft: _Draft, name: str, value: str) -> None:
    draft.cursor = value


def _contained(draft: _Draft, name: str, value: str) -> None:
    """Contained resources are no matches of their own, which is R4's default; nothing else is offered."""
    if value not in ("false", ""):
        raise NotSupported(f"{name}={value}: contained resources are not searched; leave {name} out")
    draft.honoured.append((name, value))


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise Invalid(f"{name}={value}: expected one of {', '.join(allowed)}")


_Control = Callable[[_Draft, str, str], None]
_CONTROLS: Final[dict[str, _Control]] = {
    "_count": _count,
    "_sort": _sort,
    "_include": _include,
    "_revinclude": _include,
    "_total": _total,
    "_summary": _summary,
    "_elements": _elements,
    "_cursor": _cursor,
    "_contained": _contained,
}
_READ_THEIR_MODIFIER: Final = frozenset({"_sort", "_include", "_revinclude"})

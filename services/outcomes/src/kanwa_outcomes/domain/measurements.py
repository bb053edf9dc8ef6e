"""Observations as measurements: a value of one measure, when it was true, and what it says it belongs to."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from kanwa_outcomes.domain.references import references
from kanwa_shared.clinical.catalogue import Measure
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search.dates import range_of

#: Observation.status values that carry a result.
RESULTS: Final = frozenset({"preliminary", "final", "amended", "corrected"})

_UNDATED: Final = datetime.min.replace(tzinfo=UTC)
# Ways to say "no unit" of a score, besides an annotation in braces such as {score}.
_NO_UNIT: Final = frozenset({"", "1"})


@dataclass(frozen=True, slots=True)
class Measurement:
    """One value of one measure in `unit`; `time` is None where the Observation gives none.

    `part_of` and `based_on` are the references that it carries.
    """

    reference: str
    value: Decimal
    unit: str
    time: datetime | None
    status: str
    part_of: frozenset[str]
    based_on: frozenset[str]

    @property
    def order(self) -> tuple[datetime, str]:
        """Oldest first, undated before all, and never equal for two Observations."""
        return self.time or _UNDATED, self.reference


def read_measurements(observations: Iterable[tuple[str, Tree]], measure: Measure) -> tuple[Measurement, ...]:
    """The results of `measure` among (reference, Observation), oldest first, whatever order they come in.

    Left out: other codes, results withdrawn or not there yet, and values that cannot be read as the measure.
    """
    found = (_read(reference, tree, measure) for reference, tree in observations)
    return tuple(sorted((m for m in found if m is not None), key=lambda m: m.order))


def read_value(observation: Tree, measure: Measure) -> tuple[Decimal, str] | None:
    """The value and its unit; None for another data type, a comparator, or a score with a foreign unit.

    valueBoolean counts as 0 or 1 where the measure is yes-no or a count. A quantity keeps the unit it came in.
    """
    if "valueInteger" in observation:
        return Decimal(observation["valueInteger"]), measure.unit
    if "valueBoolean" in observation and measure.kind in {"yes-no", "count"}:
        return Decimal(bool(observation["valueBoolean"])), measure.unit
    quantity: Tree = observation.get("valueQuantity", {})
    if "value" not in quantity or "comparator" in quantity:
        return None
    unit = str(quantity.get("code", quantity.get("unit", measure.unit)))
    if measure.kind == "quantity":
        return Decimal(quantity["value"]), unit
    return (Decimal(quantity["value"]), measure.unit) if is_unit_of(unit, measure) else None


def is_unit_of(unit: str, measure: Measure) -> bool:
    """Whether a score, a count or a yes-no value may carry `unit`: the measure's, none, or an annotation."""
    return unit == measure.unit or unit in _NO_UNIT or (unit.startswith("{") and unit.endswith("}"))


def in_range(value: Decimal, measure: Measure) -> bool:
    """Whether the value lies on the measure's scale."""
    return (measure.minimum is None or value >= measure.minimum) and (
        measure.maximum is None or value <= measure.maximum
    )


def effective_time(observation: Tree) -> datetime | None:
    """When the value was true: effectiveDateTime, effectiveInstant or the period's start, in UTC; else None.

    A date without a time is read as its beginning in UTC.
    """
    period: Tree = observation.get("effectivePeriod", {})
    text = observation.get("effectiveDateTime") or observation.get("effectiveInstant") or period.get("start")
    return range_of(text)[0] if text else None


def _read(reference: str, tree: Tree, measure: Measure) -> Measurement | None:
    if tree.get("status") not in RESULTS or not measure.measures(tree.get("code", {})):
        return None
    read = read_value(tree, measure)
    if read is None or not in_range(read[0], measure):
        return None
    return Measurement(
        reference,
        *read,
        effective_time(tree),
        str(tree["status"]),
        references(tree.get("partOf", ())),
        references(tree.get("basedOn", ())),
    )

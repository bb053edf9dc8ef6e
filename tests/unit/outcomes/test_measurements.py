"""How an Observation is read as a measurement."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from kanwa_outcomes.domain.measurements import effective_time, read_measurements, read_value
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import measures
from tests.support.outcomes import PAIN, Tree, day, observation

REBLEEDING = measures()["rebleeding"]
BILIRUBIN = measures()["bilirubin"]


def valued(**value: object) -> Tree:
    return {"resourceType": "Observation", "status": "final", **value}


@pytest.mark.parametrize(
    "value",
    [
        {"valueInteger": 3},
        {"valueQuantity": {"value": Decimal(3), "code": "{score}"}},
        {"valueQuantity": {"value": Decimal("3.0")}},
        {"valueQuantity": {"value": 3, "code": "1"}},
        {"valueQuantity": {"value": 3, "unit": "{points}"}},
    ],
)
def test_a_score_is_read_from_an_integer_or_a_quantity_without_unit(value: Tree) -> None:
    assert read_value(valued(**value), PAIN) == (Decimal(3), "{score}")


@pytest.mark.parametrize(
    "value",
    [
        {"valueQuantity": {"value": 30, "code": "mm"}},
        {"valueQuantity": {"value": 3, "comparator": "<"}},
        {"valueQuantity": {"unit": "{score}"}},
        {"valueString": "3"},
        {"valueBoolean": True},
        {"dataAbsentReason": {"text": "refused"}},
        {},
    ],
)
def test_what_is_no_score_is_not_read_as_one(value: Tree) -> None:
    assert read_value(valued(**value), PAIN) is None


def test_a_yes_or_no_counts_as_one_or_none_for_a_count() -> None:
    assert read_value(valued(valueBoolean=True), REBLEEDING) == (Decimal(1), REBLEEDING.unit)
    assert read_value(valued(valueBoolean=False), REBLEEDING) == (Decimal(0), REBLEEDING.unit)


def test_a_quantity_keeps_the_unit_that_it_came_in() -> None:
    sent = valued(valueQuantity={"value": 104, "unit": "umol/L", "code": "umol/L"})
    assert read_value(sent, BILIRUBIN) == (Decimal(104), "umol/L")


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        ({"effectiveDateTime": "2026-03-09T10:00:00+09:00"}, datetime(2026, 3, 9, 1, tzinfo=UTC)),
        ({"effectiveDateTime": "2026-03-09"}, datetime(2026, 3, 9, tzinfo=UTC)),
        ({"effectiveDateTime": "2026-03"}, datetime(2026, 3, 1, tzinfo=UTC)),
        ({"effectiveInstant": "2026-03-09T10:00:00.123Z"}, datetime(2026, 3, 9, 10, 0, 0, 123000, UTC)),
        ({"effectivePeriod": {"start": "2026-03-09T10:00:00Z"}}, datetime(2026, 3, 9, 10, tzinfo=UTC)),
        ({}, None),
        ({"effectiveTiming": {}}, None),
    ],
)
def test_the_time_is_read_from_any_kind_of_effective(element: Tree, expected: datetime | None) -> None:
    assert effective_time(valued(**element)) == expected


def test_a_measure_is_known_by_any_of_its_codings_and_by_no_other() -> None:
    by_loinc = observation(3, day(7), code=codes.loinc("72514-3"))
    by_local = observation(3, day(7), code=codes.concept(codes.MEASURE, "pain-nrs"))
    other = observation(3, day(7), code=codes.loinc("718-7"))
    found = read_measurements(
        [("Observation/a", by_loinc), ("Observation/b", by_local), ("Observation/c", other)], PAIN
    )
    assert [m.reference for m in found] == ["Observation/a", "Observation/b"]

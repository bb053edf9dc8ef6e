"""Which procedure a measurement belongs to."""

from datetime import timedelta

import pytest

from kanwa_outcomes.domain.attribution import baseline_of, follow_up_of
from kanwa_outcomes.domain.measurements import Measurement, read_measurements
from kanwa_outcomes.domain.performed import Performed, read_performed
from tests.support.outcomes import (
    ENDED,
    PAIN,
    STARTED,
    Tree,
    day,
    observation,
    performed,
    procedure,
    request,
    text,
)

MONTH = timedelta(days=30)


def measured(**observations: Tree) -> tuple[Measurement, ...]:
    return read_measurements([(f"Observation/{id}", tree) for id, tree in observations.items()], PAIN)


def later(days: float, id: str = "later", request_id: str = "r2") -> Performed:
    """A second vertebroplasty of the same patient."""
    shift = timedelta(days=days)
    tree = procedure(
        id=id,
        basedOn=[{"reference": f"ServiceRequest/{request_id}"}],
        performedPeriod={"start": text(STARTED + shift), "end": text(ENDED + shift)},
    )
    return read_performed(f"Procedure/{id}", tree, request(id=request_id))


def ids(found: tuple[Measurement, ...]) -> list[str]:
    return [m.reference.removeprefix("Observation/") for m in found]


def test_a_measurement_that_names_nothing_belongs_to_the_one_procedure_of_its_patient() -> None:
    first = performed()
    assert ids(follow_up_of(first, [first], measured(a=observation(3, day(7))))) == ["a"]


def test_a_measurement_that_names_its_procedure_belongs_to_that_one() -> None:
    first, second = performed(), later(2)
    found = measured(a=observation(3, day(7), partOf=[{"reference": "Procedure/later"}]))
    assert follow_up_of(first, [first, second], found) == ()
    assert ids(follow_up_of(second, [first, second], found)) == ["a"]


def test_a_measurement_that_names_its_request_belongs_to_the_procedure_for_it() -> None:
    first, second = performed(), later(2)
    found = measured(a=observation(3, day(7), basedOn=[{"reference": "ServiceRequest/r2"}]))
    assert follow_up_of(first, [first, second], found) == ()
    assert ids(follow_up_of(second, [first, second], found)) == ["a"]


def test_a_measurement_that_two_procedures_wait_for_is_nobodys() -> None:
    first, second = performed(), later(2)
    found = measured(a=observation(3, day(7)))
    assert follow_up_of(first, [first, second], found) == ()
    assert follow_up_of(second, [first, second], found) == ()


def test_after_a_second_procedure_the_week_1_score_is_its_own() -> None:
    first, second = performed(), later(40)
    found = measured(early=observation(3, day(7)), late=observation(4, day(47)))
    assert ids(follow_up_of(first, [first, second], found)) == ["early"]
    assert ids(follow_up_of(second, [first, second], found)) == ["late"]


def test_the_last_score_before_a_second_procedure_is_its_baseline() -> None:
    second = later(40)
    found = measured(early=observation(3, day(7)), before=observation(7, day(38)))
    baseline = baseline_of(second, (), found, longest=MONTH)
    assert baseline is not None
    assert baseline.reference == "Observation/before"


def test_an_absolute_reference_with_a_version_names_the_same_procedure() -> None:
    first = performed()
    reference = "https://kanwa.example/fhir/Procedure/x/_history/2"
    found = measured(a=observation(3, day(7), partOf=[{"reference": reference}]))
    assert ids(follow_up_of(first, [first], found)) == ["a"]


def test_a_score_before_the_referral_is_its_baseline_though_the_procedure_is_dated_earlier() -> None:
    backdated = read_performed("Procedure/x", procedure(), request(authoredOn=text(day(8))))
    found = measured(
        referral=observation(8, day(7.9)),
        week_1=observation(3, day(7), partOf=[{"reference": "Procedure/x"}]),
    )
    follow_up = follow_up_of(backdated, [backdated], found)
    assert ids(follow_up) == ["week_1"]
    baseline = baseline_of(backdated, follow_up, found, longest=MONTH)
    assert baseline is not None
    assert baseline.reference == "Observation/referral"


def test_a_score_without_a_time_is_the_baseline_of_last_resort() -> None:
    first = performed()
    found = measured(undated=observation(8, None), dated=observation(6, STARTED))
    baseline = baseline_of(first, (), found, longest=MONTH)
    assert baseline is not None
    assert baseline.reference == "Observation/dated"
    alone = baseline_of(first, (), measured(undated=observation(8, None)), longest=MONTH)
    assert alone is not None


@pytest.mark.parametrize("link", ["partOf", "basedOn"])
def test_a_score_without_a_time_that_names_the_procedure_or_request_is_not_its_baseline(link: str) -> None:
    reference = {"partOf": "Procedure/x", "basedOn": "ServiceRequest/r"}[link]
    found = measured(undated=observation(8, None, **{link: [{"reference": reference}]}))
    assert baseline_of(performed(), (), found, longest=MONTH) is None


def test_a_score_of_the_procedures_own_morning_is_a_baseline_though_it_names_the_procedure() -> None:
    found = measured(a=observation(8, STARTED, partOf=[{"reference": "Procedure/x"}]))
    assert baseline_of(performed(), (), found, longest=MONTH) is not None
    assert follow_up_of(performed(), [performed()], found) == ()

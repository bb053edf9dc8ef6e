"""What a client's Observation is refused for."""

import pytest

from kanwa_outcomes.domain.writing import faults_of
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import measures
from tests.support.outcomes import Tree, day, observation


@pytest.mark.parametrize("value", [0, 10, 4.5])
def test_pain_on_its_scale_is_accepted(value: float) -> None:
    assert faults_of(observation(value, day(7))) == []


@pytest.mark.parametrize(
    "value", [{"valueInteger": 11}, {"valueInteger": -1}, {"valueQuantity": {"value": 80}}]
)
def test_pain_off_its_scale_is_refused_with_the_scale(value: Tree) -> None:
    (fault,) = faults_of(observation(None, day(7), **value))
    assert fault.expression == ("Observation.value",)
    assert "from 0 to 10" in fault.diagnostics


def test_pain_in_millimetres_is_refused() -> None:
    (fault,) = faults_of(observation(None, day(7), valueQuantity={"value": 8, "code": "mm"}))
    assert "{score}" in fault.diagnostics


def test_a_withdrawn_value_may_be_off_the_scale() -> None:
    wrong = observation(None, day(7), valueInteger=80, status="entered-in-error")
    assert faults_of(wrong) == []


def test_an_outcome_that_kanwa_derives_is_refused() -> None:
    by_hand = observation(None, day(7), code=codes.concept(codes.OUTCOME, "jivrosg-response"))
    (fault,) = faults_of(by_hand)
    assert fault.expression == ("Observation.code",)


@pytest.mark.parametrize("unit", ["mg/dL", "umol/L"])
def test_a_laboratory_value_is_accepted_in_any_unit(unit: str) -> None:
    bilirubin = observation(None, day(7), measure=measures()["bilirubin"])
    assert faults_of({**bilirubin, "valueQuantity": {"value": 104, "code": unit}}) == []


def test_an_observation_of_something_else_is_none_of_outcomes_business() -> None:
    assert (
        faults_of(observation(None, day(7), code=codes.loinc("8302-2"), valueQuantity={"value": 1000})) == []
    )

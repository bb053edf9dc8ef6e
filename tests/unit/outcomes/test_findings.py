"""What is derived from measurements (clinical statement F.1, behaviours 28 and 29)."""

import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanwa_outcomes.domain.findings import Finding, Outcome, derive
from kanwa_shared.clinical.catalogue import catalogue, measures
from kanwa_shared.clinical.response import classify
from tests.support.outcomes import course, day, observation, values

DISTENSION = measures()["ascites-distension"]
BILIRUBIN = measures()["bilirubin"]
REBLEEDING = measures()["rebleeding"]
LATE = day(400)


def only(outcome: Outcome, kind: str = "jivrosg-response") -> Finding:
    (finding,) = [f for f in outcome.findings if f.kind == kind]
    return finding


@pytest.mark.parametrize(
    ("baseline", "week_1", "expected"),
    [
        (8, 3, "SE"),
        (6, 2, "SE"),
        (3, 2, "SE"),
        (9, 5, "ME"),
        (9, 4.5, "ME"),
        (8, 6, "ME"),
        (7, 5.5, "NE"),
        (5, 6, "NE"),
    ],
)
def test_the_response_class_follows_the_trial(baseline: float, week_1: float, expected: str) -> None:
    outcome = derive(course(values((-1, baseline), (7, week_1))))
    finding = only(outcome)
    assert finding.code == expected
    assert [m.reference for m in finding.inputs] == ["Observation/o0", "Observation/o1"]
    assert outcome.closed


@pytest.mark.parametrize("baseline", [0, 1, 2])
def test_a_baseline_of_2_or_less_gives_no_class(baseline: float) -> None:
    finding = only(derive(course(values((-1, baseline), (7, 0)))))
    assert finding.code == "NA"
    assert "2 or less" in (finding.reason or "")


def test_a_missing_week_1_score_is_not_evaluable_once_its_window_has_passed_and_nothing_before() -> None:
    waiting = derive(course(values((-1, 8))))
    assert (waiting.findings, waiting.closed) == ((), False)
    overdue = derive(course(values((-1, 8)), now=day(11)))
    assert only(overdue).code == "NA"
    assert overdue.closed


def test_a_procedure_recorded_late_is_waited_for_before_it_is_given_up() -> None:
    patient = derive(course(values((-1, 8)), now=day(200), patience_until=day(201)))
    assert (patient.findings, patient.closed) == ((), False)


def test_a_later_measurement_shows_that_the_window_has_passed() -> None:
    outcome = derive(course(values((-1, 8), (28, 3))))
    assert only(outcome).code == "NA"
    assert only(outcome, "response-at-follow-up").code == "SE"
    assert outcome.closed


def test_pain_on_day_1_alone_does_not_close_the_loop() -> None:
    outcome = derive(course(values((-1, 8), (1, 2))))
    assert not outcome.closed
    assert [f.kind for f in outcome.findings] == ["response-at-follow-up"]


def test_the_week_1_score_is_the_one_nearest_to_day_7() -> None:
    finding = only(derive(course(values((-1, 8), (5, 1), (7.5, 7), (10, 1)))))
    assert finding.code == "NE"
    assert finding.follow_up is not None
    assert finding.follow_up.reference == "Observation/o2"


def test_of_two_scores_as_near_the_later_counts() -> None:
    finding = only(derive(course(values((-1, 8), (6, 7), (8, 2)))))
    assert finding.code == "SE"


@pytest.mark.parametrize(("when", "counts"), [(3.4, False), (3.5, True), (10.5, True), (10.6, False)])
def test_a_score_counts_for_week_1_from_day_3_5_to_10_5(when: float, counts: bool) -> None:
    codes = [
        f.code for f in derive(course(values((-1, 8), (when, 3)))).findings if f.kind == "jivrosg-response"
    ]
    assert ("SE" in codes) == counts


def test_the_baseline_is_the_last_score_before_the_start() -> None:
    finding = only(derive(course(values((-20, 3), (-2, 9), (-0.5, 8), (7, 5)))))
    assert finding.code == "ME"


def test_a_baseline_older_than_the_setting_is_none() -> None:
    finding = only(derive(course(values((-31, 8), (7, 3)))))
    assert finding.code == "NA"
    assert "before the procedure" in (finding.reason or "")


@pytest.mark.parametrize("status", ["entered-in-error", "cancelled", "registered", "unknown"])
def test_a_result_that_does_not_stand_is_not_used(status: str) -> None:
    observations = [
        *values((-1, 8)),
        ("Observation/w", observation(3, day(7), status=status)),
    ]
    assert derive(course(observations)).findings == ()


def test_a_score_off_the_scale_is_not_used() -> None:
    assert derive(course(values((-1, 8), (7, 11)))).findings == ()


def test_cryoablation_is_judged_at_week_1_and_closes_with_week_4() -> None:
    week_1 = derive(course(values((-1, 8), (7, 6)), code="bone-cryoablation"))
    assert only(week_1).code == "ME"
    assert not week_1.closed
    assert derive(course(values((-1, 8), (7, 6), (28, 4)), code="bone-cryoablation")).closed


def test_drainage_is_effective_if_the_symptom_is_better_up_to_day_7() -> None:
    finding = only(
        derive(course(values((-1, 7), (1, 4), (7, 3), measure=DISTENSION), code="paracentesis")),
        "symptom-response",
    )
    assert finding.code == "improved"


def test_drainage_is_not_effective_if_the_symptom_was_back_in_between() -> None:
    finding = only(
        derive(course(values((-1, 7), (1, 4), (4, 7), (7, 6), measure=DISTENSION), code="paracentesis")),
        "symptom-response",
    )
    assert finding.code == "not-improved"
    assert [m.reference for m in finding.inputs] == ["Observation/o0", "Observation/o2"]


def test_tube_discomfort_gets_better_upwards() -> None:
    discomfort = measures()["tube-discomfort-nrs"]
    outcome = derive(course(values((-1, 2), (14, 8), measure=discomfort), code="transesophageal-gastrostomy"))
    assert only(outcome, "symptom-response").code == "improved"


def test_a_stent_without_a_rule_in_the_sources_reports_the_change_and_no_class() -> None:
    outcome = derive(course(values((-1, 14.2), (14, 6.1), measure=BILIRUBIN), code="biliary-stent"))
    finding = only(outcome, "measured-change")
    assert finding.change == Decimal("-8.1")
    assert finding.unit == "mg/dL"
    assert finding.code is None


def test_values_in_two_units_close_the_loop_without_a_computed_change() -> None:
    micromoles = observation(None, day(14), measure=BILIRUBIN)
    micromoles["valueQuantity"] = {"value": 104, "unit": "umol/L", "code": "umol/L"}
    outcome = derive(
        course([*values((-1, 14.2), measure=BILIRUBIN), ("Observation/u", micromoles)], code="biliary-stent")
    )
    finding = only(outcome, "measured-change")
    assert outcome.closed
    assert finding.change is None
    assert "umol/L" in (finding.reason or "")


def test_no_rebleeding_is_controlled_and_needs_no_baseline() -> None:
    outcome = derive(course(values((1, 0), (7, 0), measure=REBLEEDING), code="emergency-embolization"))
    assert only(outcome, "bleeding-control").code == "no-rebleeding"
    assert outcome.closed


def test_rebleeding_on_day_20_is_not_hidden_by_a_good_day_7() -> None:
    outcome = derive(course(values((7, 0), (20, 1), measure=REBLEEDING), code="tumor-embolization"))
    assert only(outcome, "bleeding-control").code == "rebleeding"


@pytest.mark.parametrize("code", list(catalogue()))
def test_every_procedure_closes_with_its_primary_measure_on_its_day(code: str) -> None:
    entry = catalogue()[code]
    measured = values((-1, 1), (entry.follow_up.primary_day, 0), measure=entry.primary_measure)
    if entry.follow_up.primary_day == 0:
        pytest.fail("a primary day of 0 could not be told from the baseline")
    outcome = derive(course(measured, code=code))
    assert outcome.closed
    assert outcome.judgement is None or outcome.judgement.follow_up is not None or entry.group == "pain"


@pytest.mark.parametrize("code", list(catalogue()))
def test_every_procedure_closes_as_not_evaluable_when_nobody_measures(code: str) -> None:
    outcome = derive(course([], code=code, now=LATE))
    assert outcome.closed
    assert outcome.judgement is not None
    assert outcome.judgement.reason


measured_days = st.lists(
    st.tuples(st.floats(-40, 60, allow_nan=False), st.integers(0, 10)), min_size=0, max_size=8
)


@given(measured_days, st.randoms(use_true_random=False))
def test_any_order_of_the_same_measurements_gives_the_same_outcome(
    pairs: list[tuple[float, int]], order: random.Random
) -> None:
    observations = values(*pairs)
    shuffled = order.sample(observations, len(observations))
    assert derive(course(observations)) == derive(course(shuffled))


@given(st.integers(3, 10), st.integers(0, 10))
def test_the_derived_class_is_that_of_its_two_inputs(baseline: int, week_1: int) -> None:
    finding = only(derive(course(values((-1, baseline), (7, week_1)))))
    assert finding.code == classify(Decimal(baseline), Decimal(week_1))

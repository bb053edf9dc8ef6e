"""The JIVROSG response class (clinical statements F.1)."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanwa_shared.clinical.response import NotEligibleError, Response, classify, is_eligible

scores = st.decimals(min_value=0, max_value=10, places=1)
eligible_scores = scores.filter(lambda score: score > 2)


@pytest.mark.parametrize(
    ("baseline", "follow_up", "expected"),
    [
        ("8", "3", "SE"),
        ("6", "2", "SE"),
        ("3", "2", "SE"),
        ("9", "5", "ME"),
        ("9", "4.5", "ME"),
        ("8", "6", "ME"),
        ("7", "5.5", "NE"),
        ("5", "6", "NE"),
        ("9", "4.1", "ME"),
        ("9", "4", "SE"),
    ],
)
def test_the_published_examples_get_their_class(baseline: str, follow_up: str, expected: str) -> None:
    assert classify(Decimal(baseline), Decimal(follow_up)) == expected


def test_a_missing_week_1_score_is_not_evaluable_and_never_not_effective() -> None:
    assert classify(Decimal(8), None) is Response.NA


@pytest.mark.parametrize("baseline", ["0", "1.5", "2", "2.0"])
def test_a_baseline_of_2_or_less_has_no_class(baseline: str) -> None:
    assert not is_eligible(Decimal(baseline))
    with pytest.raises(NotEligibleError):
        classify(Decimal(baseline), Decimal(0))


@pytest.mark.parametrize("score", ["-0.1", "10.1", "11"])
def test_a_score_off_the_scale_is_refused(score: str) -> None:
    with pytest.raises(ValueError, match="0-10"):
        classify(Decimal(8), Decimal(score))


@given(eligible_scores, scores)
def test_the_classes_leave_no_gap_and_follow_the_rule(baseline: Decimal, follow_up: Decimal) -> None:
    decrease = baseline - follow_up
    effective = decrease >= 5 or follow_up <= 2
    expected = "SE" if effective else "ME" if Decimal(2) <= decrease < Decimal(5) else "NE"
    assert classify(baseline, follow_up) == expected


@given(eligible_scores, scores, scores)
def test_less_pain_is_never_a_worse_class(baseline: Decimal, one: Decimal, other: Decimal) -> None:
    order = ["NE", "ME", "SE"]
    less, more = sorted((one, other))
    assert order.index(classify(baseline, less)) >= order.index(classify(baseline, more))

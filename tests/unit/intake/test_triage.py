"""What triage asks for, warns of and refuses."""

from decimal import Decimal
from typing import Any

import pytest

from kanwa_intake.domain.triage import Triage, TriageFacts, answers_item, detected_issues, triage
from kanwa_shared.clinical import codes
from kanwa_shared.errors import BusinessRule

NOW = "2026-11-25T08:00:00.000Z"


def a_request(procedure: str | None = "vertebroplasty", **members: Any) -> dict[str, Any]:
    code = (
        codes.concept(codes.IR_PROCEDURE, procedure) if procedure else {"text": "something for the ascites"}
    )
    return {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "code": code,
        "subject": {"reference": "Patient/p"},
        **members,
    }


def an_observation(
    loinc: str, value: str | None, unit: str = "1", **members: Any
) -> tuple[str, dict[str, Any]]:
    tree: dict[str, Any] = {
        "resourceType": "Observation",
        "status": "final",
        "code": codes.loinc(loinc),
        "subject": {"reference": "Patient/p"},
        **members,
    }
    if value is not None:
        tree["valueQuantity"] = {"value": Decimal(value), "unit": unit, "code": unit}
    return f"Observation/{loinc}", tree


def facts(*observations: tuple[str, dict[str, Any]], requests: tuple[Any, ...] = ()) -> TriageFacts:
    return TriageFacts(observations, requests)


PAIN = an_observation("72514-3", "8")
INR = an_observation("6301-6", "1.10")
PLATELETS = an_observation("777-3", "180", "10*3/uL")


def missing_codes(found: Triage) -> set[str]:
    return {item.concept["coding"][0]["code"] for item in found.missing}


def test_a_complete_referral_for_vertebroplasty_misses_nothing() -> None:
    found = triage(a_request(), facts(PAIN, INR, PLATELETS))
    assert found == Triage((), (), ())


def test_a_procedure_of_high_bleeding_risk_needs_inr_and_platelets() -> None:
    assert missing_codes(triage(a_request(), facts(PAIN))) == {"6301-6", "777-3"}


def test_a_paracentesis_needs_no_laboratory_value() -> None:
    assert triage(a_request("paracentesis"), facts()).missing == ()


def test_a_procedure_for_pain_needs_the_pain_before_it() -> None:
    assert missing_codes(triage(a_request("bone-rfa"), facts(INR, PLATELETS))) == {"72514-3"}


@pytest.mark.parametrize("score", ["0", "2", "2.0"])
def test_a_baseline_pain_of_two_or_less_is_not_eligible_for_vertebroplasty(score: str) -> None:
    with pytest.raises(BusinessRule, match=r"10\.1093/annonc/mdp242") as refused:
        triage(a_request(), facts(an_observation("72514-3", score), INR, PLATELETS))
    assert refused.value.issues[0].expression == ("ServiceRequest.code",)


def test_the_newest_pain_counts() -> None:
    old = ("Observation/old", an_observation("72514-3", "1", effectiveDateTime="2026-11-01")[1])
    new = ("Observation/new", an_observation("72514-3", "7", effectiveDateTime="2026-11-24")[1])
    assert triage(a_request(), facts(new, old, INR, PLATELETS)).missing == ()


def test_platelets_without_a_known_unit_are_asked_for_again_and_not_guessed() -> None:
    found = triage(a_request(), facts(PAIN, INR, an_observation("777-3", "180", "furlongs")))
    assert missing_codes(found) == {"777-3"}
    assert "no unit that can be read" in found.missing[0].reason


def test_an_inr_above_the_limit_is_advice_and_holds_nothing_back() -> None:
    found = triage(a_request(), facts(PAIN, an_observation("6301-6", "1.9"), PLATELETS))
    assert found.missing == ()
    [issue] = detected_issues("ServiceRequest/r", a_request(), found, now=NOW)
    assert "1.9" in issue["detail"]
    assert issue["implicated"] == [{"reference": "ServiceRequest/r"}]


def test_a_result_entered_in_error_is_no_result() -> None:
    wrong = an_observation("6301-6", "1.0", status="entered-in-error")
    assert missing_codes(triage(a_request(), facts(PAIN, wrong, PLATELETS))) == {"6301-6"}


def test_free_text_goes_to_the_team_without_a_gate() -> None:
    assert triage(a_request(None), facts()) == Triage((), (), ())


def test_the_same_procedure_at_the_same_site_is_a_possible_duplicate() -> None:
    twin = ("ServiceRequest/a", a_request("paracentesis"))
    elsewhere = ("ServiceRequest/b", a_request("paracentesis", bodySite=[{"text": "left"}]))
    other = ("ServiceRequest/c", a_request("tips"))
    found = triage(a_request("paracentesis"), facts(requests=(twin, elsewhere, other)))
    assert found.duplicates == ("ServiceRequest/a",)


def test_an_observation_answers_the_item_with_its_code_only() -> None:
    task = {"input": [{"valueCodeableConcept": codes.loinc("6301-6")}]}
    assert answers_item(INR[1], task)
    assert not answers_item(PLATELETS[1], task)
    assert not answers_item(an_observation("6301-6", None, dataAbsentReason={"text": "lost"})[1], task)

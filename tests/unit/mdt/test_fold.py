"""The board ends the same, whatever order events come in and however often."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kanwa_mdt.domain.case import Stage, read, written
from kanwa_mdt.domain.fact import read_event
from kanwa_mdt.domain.fold import Facts, cases, fold, with_fact
from kanwa_shared.clinical import codes
from kanwa_shared.messaging.envelope import Event
from tests.support.mdt_cases import EventSource, Referral, people, whole_loop


def folded(events: list[Event]) -> Facts:
    facts: Facts = {}
    for event in events:
        facts = fold(facts, event)
    return facts


def folded_again(events: list[Event]) -> Facts:
    """The same, with each event read once: reading depends on the event alone."""
    facts: Facts = {}
    for event in events:
        fact = FACTS[event.id]
        facts = facts if fact is None else with_fact(facts, fact)
    return facts


def story() -> list[Event]:
    """Two referrals of one patient, one that was declined, one that was deleted, and the people."""
    source = EventSource()
    first = Referral(source, "first")
    second = Referral(source, "second", "nephrostomy", priority="urgent")
    gone = Referral(source, "gone", family="Berg")
    events = [*people(source), *whole_loop(first), *second.refer(missing=True)]
    moved = second.service_request(subject={"reference": first.patient})
    events += [source.told(moved), *gone.refer(issue="INR 1.9"), *gone.decide("not-indicated", "Too frail.")]
    return [*events, source.deleted(gone.request), source.deleted("Observation/first-inr")]


STORY = story()
FACTS = {event.id: read_event(event).fact for event in STORY}
EXPECTED = {key: written(case) for key, case in cases(folded(STORY)).items()}


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, len(STORY)))
def test_any_order_and_any_repetition_ends_in_the_same_cases(chance: random.Random, repeated: int) -> None:
    events = STORY + chance.sample(STORY, repeated)
    chance.shuffle(events)
    assert {key: written(case) for key, case in cases(folded_again(events)).items()} == EXPECTED


def test_the_story_has_a_closed_case_and_an_open_one() -> None:
    found = cases(folded(STORY))
    assert {key: case.stage for key, case in found.items()} == {
        "first": Stage.CLOSED,
        "second": Stage.REFERRED,
    }


def test_a_case_survives_being_written_and_read() -> None:
    case = cases(folded(STORY))["first"]
    assert read(written(case)) == case


def test_an_older_version_never_replaces_a_newer_one() -> None:
    source = EventSource()
    referral = Referral(source, "a")
    events = [*referral.refer(), *referral.decide()]
    late = next(e for e in events if e.resource == "Task/a-fulfill" and e.version == 1)
    facts = folded(events)
    assert fold(facts, late) is facts
    assert cases(facts)["a"].stage == Stage.ACCEPTED


@pytest.mark.parametrize(
    ("steps", "stage"),
    [
        ("", Stage.AWAITING_MDT),
        ("decide", Stage.ACCEPTED),
        ("decide book", Stage.BOOKED),
        ("decide book begin", Stage.IN_PROCEDURE),
        ("decide book begin perform", Stage.FOLLOW_UP),
        ("decide book begin perform close", Stage.CLOSED),
    ],
)
def test_each_step_of_the_loop_moves_the_case_to_its_stage(steps: str, stage: Stage) -> None:
    referral = Referral(EventSource(), "a")
    events = list(referral.refer())
    for step in steps.split():
        events += getattr(referral, step)()
    assert cases(folded(events))["a"].stage == stage


@pytest.mark.parametrize(
    ("decision", "stage"),
    [
        ("recommended", Stage.ACCEPTED),
        ("alternative", Stage.DECLINED),
        ("not-indicated", Stage.DECLINED),
        ("deferred", Stage.REFERRED),
    ],
)
def test_a_decision_moves_the_case(decision: str, stage: Stage) -> None:
    referral = Referral(EventSource(), "a")
    case = cases(folded([*referral.refer(), *referral.decide(decision, "Because.")]))["a"]
    assert case.stage == stage
    assert case.decision is not None
    assert (case.decision.code, case.decision.rationale) == (decision, "Because.")
    assert [person.display for person in case.decision.participants] == ["Dr. Mori"]


def test_a_deferred_case_waits_for_the_mdt_again_once_it_is_asked_again() -> None:
    referral = Referral(EventSource(), "a")
    events = [*referral.refer(), *referral.decide("deferred", "CT first.")]
    again = referral.task(
        "again", code=codes.concept(codes.TASK_CODE, "approve"), status="requested", partOf=[]
    )
    case = cases(folded([*events, again]))["a"]
    assert case.stage == Stage.AWAITING_MDT
    assert case.mdt is not None
    assert case.mdt.id == "a-again"


def test_a_referral_with_missing_items_waits_in_triage_and_names_them() -> None:
    referral = Referral(EventSource(), "a")
    case = cases(folded(list(referral.refer(missing=True))))["a"]
    assert case.stage == Stage.REFERRED
    assert [item.item for item in case.missing] == ["INR", "Platelets"]
    assert case.open_items == 2


def test_an_emergency_is_to_be_scheduled_at_once_and_reviewed_later() -> None:
    referral = Referral(EventSource(), "a", "emergency-embolization", priority="stat")
    case = cases(folded(list(referral.refer())))["a"]
    assert (case.stage, case.urgency, case.review) == (Stage.ACCEPTED, 0, True)


@pytest.mark.parametrize("changes", [{"status": "draft"}, {"intent": "plan"}, {"status": "completed"}])
def test_a_request_that_nobody_coordinates_is_no_case(changes: dict[str, str]) -> None:
    source = EventSource()
    referral = Referral(source, "a")
    assert cases(folded([source.told(referral.service_request(**changes))])) == {}


def test_a_withdrawn_referral_is_closed_and_says_so() -> None:
    source = EventSource()
    referral = Referral(source, "a")
    events = [*referral.refer(), source.told(referral.service_request(status="revoked"))]
    case = cases(folded(events))["a"]
    assert (case.stage, case.ending) == (Stage.CLOSED, "Withdrawn by the referrer")


def test_measurements_keep_their_digits_and_count_days_from_the_procedure() -> None:
    referral = Referral(EventSource(), "a", baseline="8.50")
    events = [*referral.refer(), *referral.decide(), *referral.book(), *referral.begin(), *referral.perform()]
    case = cases(folded([*events, referral.measure("3", 7)]))["a"]
    pain = case.series[0]
    assert pain.primary
    assert [point.text for point in pain.points] == ["8.50", "3"]
    assert pain.points[1].day == 7.0
    assert pain.points[0].day is not None
    assert pain.points[0].day < 0


def test_a_measurement_of_one_referral_is_not_shown_with_the_patients_other_one() -> None:
    source = EventSource()
    first, other = Referral(source, "first"), Referral(source, "other")
    events = [*whole_loop(first), *other.refer()]
    moved = other.service_request(subject={"reference": first.patient})
    case = cases(folded([*events, source.told(moved)]))["other"]
    assert all("day-7" not in point.reference for series in case.series for point in series.points)
    assert "Observation/first-day-7" not in case.members


def test_the_newest_laboratory_value_is_shown_with_its_digits() -> None:
    referral = Referral(EventSource(), "a")
    events = [*referral.refer(), referral.laboratory("inr", codes.INR, "1.20", "{INR}")]
    laboratory = cases(folded(events))["a"].dossier.laboratory
    assert [(line.title, line.detail) for line in laboratory] == [
        ("INR", "1.20"),
        ("Platelets", "180 \u00d710³/µL"),
    ]


def test_the_derived_class_is_the_cases_outcome() -> None:
    case = cases(folded(whole_loop(Referral(EventSource(), "a"))))["a"]
    assert [(o.kind, o.code) for o in case.outcomes] == [("jivrosg-response", "SE")]


def test_an_attachments_content_does_not_stay_in_the_facts() -> None:
    facts = folded(whole_loop(Referral(EventSource(), "a")))
    content = facts["DocumentReference/a-summary"].content
    assert content is not None
    assert content["content"] == [{"attachment": {"contentType": "text/plain"}}]

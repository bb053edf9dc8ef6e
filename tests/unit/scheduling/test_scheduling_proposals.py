"""The resources that scheduling writes, and how an Appointment follows its Procedure."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from kanwa_scheduling.domain.appointment import AppointmentStatus as Appointment
from kanwa_scheduling.domain.appointment import following
from kanwa_scheduling.domain.following import appointment_after
from kanwa_scheduling.domain.interval import Interval
from kanwa_scheduling.domain.procedure import ProcedureStatus as Procedure
from kanwa_scheduling.domain.proposal import (
    booked_appointment,
    ended_appointment,
    held_appointment,
    hold_expiry,
    prepared_procedure,
    procedure_id,
    proposed_appointment,
    with_place_and_team,
)
from kanwa_scheduling.domain.reasons import HOLD_EXPIRED, says_no_show
from kanwa_shared.clinical.codes import CANCELATION_REASON, IR_PROCEDURE
from kanwa_shared.fhir.validation import validate

EIGHT = datetime(2026, 3, 29, 0, tzinfo=UTC)
NO_SHOW = {"coding": [{"system": CANCELATION_REASON, "code": "no-show"}]}
REFERRAL: dict[str, Any] = {
    "resourceType": "ServiceRequest",
    "id": "r",
    "status": "active",
    "intent": "order",
    "subject": {"reference": "Patient/p"},
    "code": {"coding": [{"system": IR_PROCEDURE, "code": "tips"}], "text": "TIPS"},
    "bodySite": [{"text": "liver"}],
    "reasonReference": [{"reference": "Condition/c"}],
}


def a_proposal(code: str = "tips") -> dict[str, Any]:
    return proposed_appointment(
        service_request_id="r",
        subject={"reference": "Patient/p"},
        concept={"coding": [{"system": IR_PROCEDURE, "code": code}]},
        interval=Interval(EIGHT, EIGHT + timedelta(hours=2)),
        zone=ZoneInfo("Europe/Berlin"),
        actors=["Location/suite", "PractitionerRole/o", "Device/d"],
        slot_ids=["s1", "s2"],
        requested=Interval(EIGHT, EIGHT + timedelta(days=7)),
        transfer=True,
        displays={"Location/suite": "Suite 1"},
    )


def test_a_proposal_is_valid_r4_and_shows_the_suites_clock_over_the_change_to_summer_time() -> None:
    proposal = a_proposal()
    assert validate(proposal) == []
    assert (proposal["start"], proposal["end"]) == ("2026-03-29T01:00:00+01:00", "2026-03-29T04:00:00+02:00")
    assert proposal["minutesDuration"] == 120
    assert proposal["participant"][1]["actor"] == {"reference": "Location/suite", "display": "Suite 1"}


def test_a_hold_says_when_it_ends_once_and_a_booking_no_longer() -> None:
    expires = EIGHT + timedelta(minutes=15, milliseconds=7)
    held = held_appointment(a_proposal(), slot_ids=["s1"], expires_at=EIGHT)
    held = held_appointment(held, slot_ids=["s1"], expires_at=expires)
    assert validate(held) == []
    assert hold_expiry(held) == expires
    booked = booked_appointment(held, slot_ids=["s3"])
    assert validate(booked) == []
    assert hold_expiry(booked) is None
    assert len(booked["extension"]) == 1  # the transfer is still said
    assert booked["slot"] == [{"reference": "Slot/s3"}]
    assert {p["status"] for p in booked["participant"]} == {"accepted"}


def test_a_participant_who_declined_stays_so_in_a_booking() -> None:
    proposal = a_proposal()
    proposal["participant"][3]["status"] = "declined"
    assert booked_appointment(proposal, slot_ids=[])["participant"][3]["status"] == "declined"


def test_the_prepared_procedure_is_valid_and_has_room_team_and_reason() -> None:
    procedure = prepared_procedure(REFERRAL, a_proposal())
    assert validate(procedure) == []
    assert procedure["status"] == "preparation"
    assert procedure["code"] == REFERRAL["code"]
    assert procedure["location"]["reference"] == "Location/suite"
    assert [p["actor"]["reference"] for p in procedure["performer"]] == ["PractitionerRole/o", "Device/d"]
    assert procedure["reasonReference"] == REFERRAL["reasonReference"]
    assert "encounter" not in procedure


def test_an_appointment_for_another_procedure_prepares_that_one() -> None:
    procedure = prepared_procedure(REFERRAL, a_proposal("paracentesis"))
    assert procedure["code"]["coding"][0]["code"] == "paracentesis"
    assert prepared_procedure(REFERRAL, {"participant": []})["code"] == REFERRAL["code"]


def test_a_procedure_without_appointment_has_neither_room_nor_team_and_keeps_the_rest() -> None:
    procedure = prepared_procedure(REFERRAL, a_proposal())
    left = with_place_and_team(procedure, None)
    assert set(procedure) - set(left) == {"location", "performer"}
    assert with_place_and_team(left, a_proposal()) == procedure


def test_a_procedures_id_follows_from_the_referral_and_what_ended_before() -> None:
    assert procedure_id("r", 0) == procedure_id("r", 0)
    assert len({procedure_id("r", 0), procedure_id("r", 1), procedure_id("s", 0)}) == 3


def test_an_ended_appointment_is_valid_with_its_reason() -> None:
    ended = ended_appointment(a_proposal(), Appointment.CANCELLED, HOLD_EXPIRED)
    assert validate(ended) == []
    assert ended["cancelationReason"] == HOLD_EXPIRED


EXPECTED = {
    ("pending", "in-progress"): "arrived",
    ("booked", "in-progress"): "arrived",
    ("checked-in", "in-progress"): "arrived",
    ("arrived", "in-progress"): "arrived",
    **dict.fromkeys(
        product(["pending", "booked", "checked-in", "arrived"], ["completed", "stopped"]), "fulfilled"
    ),
    ("pending", "not-done"): "cancelled",
    ("booked", "not-done"): "cancelled",
    ("checked-in", "not-done"): "fulfilled",
    ("arrived", "not-done"): "fulfilled",
}
UNDER_WAY = [Appointment.PENDING, Appointment.BOOKED, Appointment.CHECKED_IN, Appointment.ARRIVED]


@pytest.mark.parametrize(("appointment", "procedure"), list(product(UNDER_WAY, Procedure)), ids=str)
def test_an_appointment_follows_every_state_of_its_procedure(
    appointment: Appointment, procedure: Procedure
) -> None:
    expected = EXPECTED.get((appointment.value, procedure.value), appointment.value)
    assert appointment_after(appointment, procedure, None) == expected
    assert _reachable(appointment, Appointment(expected))


def test_a_patient_who_stayed_away_is_a_no_show_only_where_the_booking_stood() -> None:
    assert says_no_show(NO_SHOW)
    assert not says_no_show({"text": "no-show"})
    assert appointment_after(Appointment.BOOKED, Procedure.NOT_DONE, NO_SHOW) is Appointment.NOSHOW
    assert appointment_after(Appointment.PENDING, Procedure.NOT_DONE, NO_SHOW) is Appointment.CANCELLED
    assert appointment_after(Appointment.ARRIVED, Procedure.NOT_DONE, NO_SHOW) is Appointment.FULFILLED


def _reachable(start: Appointment, end: Appointment) -> bool:
    """Whether the transition table alone leads from one status to the other."""
    seen, edge = {start}, {start}
    while edge:
        edge = {to for status in edge for to in following(status)} - seen
        seen |= edge
    return end in seen

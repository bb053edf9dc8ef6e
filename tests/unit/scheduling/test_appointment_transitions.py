"""The Appointment's transition table, written out a second time by hand, and every pair walked."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanwa_scheduling.domain.appointment import (
    HOLDING,
    TRANSITIONS,
    after,
    check_change,
    following,
)
from kanwa_scheduling.domain.appointment import (
    AppointmentCommand as Command,
)
from kanwa_scheduling.domain.appointment import (
    AppointmentStatus as Status,
)
from kanwa_shared.errors import BusinessRule

# status: {command: next status}; `void` is possible from everywhere but entered-in-error and is added below.
EXPECTED: dict[str, dict[str, str]] = {
    "proposed": {"hold": "pending", "book": "booked", "cancel": "cancelled", "waitlist": "waitlist"},
    "waitlist": {"propose": "proposed", "book": "booked", "cancel": "cancelled"},
    "pending": {"book": "booked", "cancel": "cancelled"},
    "booked": {"check-in": "checked-in", "arrive": "arrived", "cancel": "cancelled", "miss": "noshow"},
    "checked-in": {"arrive": "arrived"},
    "arrived": {"fulfil": "fulfilled"},
    "fulfilled": {},
    "cancelled": {},
    "noshow": {},
    "entered-in-error": {},
}
for _status, _ways in EXPECTED.items():
    if _status != "entered-in-error":
        _ways["void"] = "entered-in-error"


@pytest.mark.parametrize(("status", "command"), list(product(Status, Command)), ids=str)
def test_every_state_and_command_leads_where_the_table_says(status: Status, command: Command) -> None:
    expected = EXPECTED[status].get(command)
    if expected is None:
        assert (status, command) not in TRANSITIONS
        with pytest.raises(BusinessRule, match=f"that is {status}"):
            after(status, command)
    else:
        assert after(status, command) == expected


@pytest.mark.parametrize(("before", "to"), list(product(Status, Status)), ids=str)
def test_a_client_may_change_the_status_only_along_the_table(before: Status, to: Status) -> None:
    if before == to or to in EXPECTED[before].values():
        check_change(before, to)
        return
    with pytest.raises(BusinessRule) as refusal:
        check_change(before, to)
    assert refusal.value.issues[0].expression == ("Appointment.status",)
    assert f"from {before} to {to}" in refusal.value.issues[0].diagnostics


def test_a_refusal_names_the_statuses_that_may_follow() -> None:
    with pytest.raises(BusinessRule, match="it may go to arrived, cancelled, checked-in, noshow"):
        check_change("booked", "pending")


@pytest.mark.parametrize("final", ["cancelled", "noshow", "fulfilled"])
def test_an_appointment_that_ended_is_never_booked_again(final: str) -> None:
    with pytest.raises(BusinessRule, match="create a new Appointment"):
        check_change(final, "booked")


@given(st.lists(st.sampled_from(list(Command)), max_size=12))
def test_whatever_is_asked_an_appointment_that_let_its_actors_go_never_takes_them_back(
    commands: list[Command],
) -> None:
    status, released = Status.PROPOSED, False
    for command in commands:
        before = status
        try:
            status = after(status, command)
        except BusinessRule:
            assert status is before
        released = released or (before in HOLDING and status not in HOLDING)
        assert not (released and status in HOLDING)


def test_nothing_follows_entered_in_error() -> None:
    assert following(Status.ENTERED_IN_ERROR) == frozenset()

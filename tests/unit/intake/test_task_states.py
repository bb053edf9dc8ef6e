"""Every (state, command) pair of the referral's Tasks and ServiceRequests, and what a client may ask for."""

from itertools import product

import pytest

from kanwa_intake.domain import service_request_states, task_states
from kanwa_shared.errors import BusinessRule

# Written by hand from clinical table C.2 and the Clinical Order Workflows guide, not from the code.
ALLOWED_TASK_CHANGES = {
    "draft": {"requested", "cancelled", "entered-in-error"},
    "requested": {
        "received",
        "accepted",
        "rejected",
        "cancelled",
        "in-progress",
        "completed",
        "entered-in-error",
    },
    "received": {"accepted", "rejected", "cancelled", "completed", "entered-in-error"},
    "accepted": {"ready", "in-progress", "cancelled", "failed", "entered-in-error"},
    "ready": {"in-progress", "cancelled", "failed", "entered-in-error"},
    "in-progress": {"on-hold", "completed", "failed", "entered-in-error"},
    "on-hold": {"in-progress", "failed", "entered-in-error"},
    "rejected": set(),
    "cancelled": set(),
    "failed": set(),
    "completed": set(),
    "entered-in-error": set(),
}
ALLOWED_REQUEST_CHANGES = {
    "draft": {"active", "revoked", "entered-in-error"},
    "active": {"on-hold", "completed", "revoked", "entered-in-error"},
    "on-hold": {"active", "revoked", "entered-in-error"},
    "completed": {"entered-in-error"},
    "revoked": {"entered-in-error"},
    "unknown": {"entered-in-error"},
    "entered-in-error": set[str](),
}


@pytest.mark.parametrize(("state", "command"), list(product(task_states.STATUSES, task_states.COMMANDS)))
def test_every_task_command_leads_to_an_allowed_state_or_nowhere(state: str, command: str) -> None:
    target = task_states.TRANSITIONS.get((state, command))
    assert target is None or target in ALLOWED_TASK_CHANGES[state]


@pytest.mark.parametrize(("before", "after"), list(product(task_states.STATUSES, repeat=2)))
def test_a_task_changes_its_status_exactly_as_the_table_says(before: str, after: str) -> None:
    allowed = before == after or after in ALLOWED_TASK_CHANGES[before]
    if allowed:
        task_states.check_change(before, after, has_reason=True)
    else:
        with pytest.raises(
            BusinessRule, match=f"cannot go from {before} to {after}|is not cancelled by its status"
        ):
            task_states.check_change(before, after, has_reason=True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("received", "rejected"),
        ("accepted", "cancelled"),
        ("in-progress", "failed"),
        ("in-progress", "on-hold"),
    ],
)
def test_a_task_that_ends_otherwise_than_well_says_why(before: str, after: str) -> None:
    with pytest.raises(BusinessRule) as refused:
        task_states.check_change(before, after, has_reason=False)
    assert refused.value.issues[0].expression == ("Task.statusReason",)


def test_a_task_in_progress_is_cancelled_through_an_abort_task_only() -> None:
    with pytest.raises(BusinessRule, match="code 'abort'"):
        task_states.check_change("in-progress", "cancelled", has_reason=True)


@pytest.mark.parametrize(
    ("state", "command"), list(product(service_request_states.STATUSES, service_request_states.COMMANDS))
)
def test_every_request_command_leads_to_an_allowed_state_or_nowhere(state: str, command: str) -> None:
    target = service_request_states.TRANSITIONS.get((state, command))
    assert target is None or target in ALLOWED_REQUEST_CHANGES[state]


@pytest.mark.parametrize(("before", "after"), list(product(service_request_states.STATUSES, repeat=2)))
def test_a_request_changes_its_status_exactly_as_the_table_says(before: str, after: str) -> None:
    if before == after or after in ALLOWED_REQUEST_CHANGES[before]:
        service_request_states.check_change(before, after)
    else:
        with pytest.raises(BusinessRule):
            service_request_states.check_change(before, after)

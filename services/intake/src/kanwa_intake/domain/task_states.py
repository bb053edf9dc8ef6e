"""Task.status: the one place that knows which change is allowed.

Source: R4's Task state machine picture is not machine-readable, so the table is a project choice, save that an
accepted request in progress is not cancelled but ended through an `abort` Task (HL7 Clinical Order Workflows IG).
"""

from collections.abc import Mapping
from typing import Final, Literal, get_args

from kanwa_shared.errors import BusinessRule

TaskStatus = Literal[
    "draft",
    "requested",
    "received",
    "accepted",
    "rejected",
    "ready",
    "cancelled",
    "in-progress",
    "on-hold",
    "failed",
    "completed",
    "entered-in-error",
]
TaskCommand = Literal[
    "request", "receive", "accept", "reject", "make-ready", "start", "hold", "resume", "complete", "fail", "cancel",
    "mark-as-error",
]  # fmt: skip

STATUSES: Final[tuple[TaskStatus, ...]] = get_args(TaskStatus)
COMMANDS: Final[tuple[TaskCommand, ...]] = get_args(TaskCommand)

TRANSITIONS: Final[Mapping[tuple[TaskStatus, TaskCommand], TaskStatus]] = {
    ("draft", "request"): "requested",
    ("draft", "cancel"): "cancelled",
    ("requested", "receive"): "received",
    ("requested", "accept"): "accepted",
    ("requested", "reject"): "rejected",
    ("requested", "cancel"): "cancelled",
    # What needs no acceptance of its own (an MDT decision, a missing laboratory value) is answered at once.
    ("requested", "start"): "in-progress",
    ("requested", "complete"): "completed",
    ("received", "accept"): "accepted",
    ("received", "reject"): "rejected",
    ("received", "cancel"): "cancelled",
    ("received", "complete"): "completed",
    ("accepted", "make-ready"): "ready",
    ("accepted", "start"): "in-progress",
    ("accepted", "cancel"): "cancelled",
    # The procedure was not done: the request was accepted and could not be fulfilled.
    ("accepted", "fail"): "failed",
    ("ready", "start"): "in-progress",
    ("ready", "cancel"): "cancelled",
    ("ready", "fail"): "failed",
    ("in-progress", "hold"): "on-hold",
    ("on-hold", "resume"): "in-progress",
    ("in-progress", "complete"): "completed",
    ("in-progress", "fail"): "failed",
    ("on-hold", "fail"): "failed",
    **{
        (status, "mark-as-error"): "entered-in-error"
        for status in STATUSES
        if status not in {"entered-in-error", "completed", "failed", "rejected", "cancelled"}
    },
}

TERMINAL: Final = frozenset({"rejected", "cancelled", "failed", "completed", "entered-in-error"})
NEEDS_REASON: Final = frozenset({"rejected", "cancelled", "failed", "on-hold"})


def check_change(before: str, after: str, *, has_reason: bool) -> None:
    """Raise BusinessRule unless Task.status may go from `before` to `after`, with a statusReason where one is due."""
    if before != after and not any(
        status == before and target == after for (status, _), target in TRANSITIONS.items()
    ):
        raise BusinessRule(_refusal(before, after), expression="Task.status")
    if before != after and after in NEEDS_REASON and not has_reason:
        raise BusinessRule(
            f"a Task that becomes {after} says why in statusReason", expression="Task.statusReason"
        )


def _refusal(before: str, after: str) -> str:
    if (before, after) in {("in-progress", "cancelled"), ("on-hold", "cancelled")}:
        return (
            "a Task in progress is not cancelled by its status; post a Task with code 'abort' whose focus is this "
            "Task, and the performer answers it"
        )
    allowed = sorted({target for (status, _), target in TRANSITIONS.items() if status == before})
    to = ", ".join(allowed) if allowed else "nothing: it is closed"
    return f"Task.status cannot go from {before} to {after}; from {before} it goes to {to}"

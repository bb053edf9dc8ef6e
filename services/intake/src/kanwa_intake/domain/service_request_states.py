"""ServiceRequest.status: the requester's own state; what the performer does lives on the Task.

Source: R4's comment on ServiceRequest.status and HL7 Clinical Order Workflows; the table itself is a project choice.
"""

from collections.abc import Mapping
from typing import Final, Literal, get_args

from kanwa_shared.errors import BusinessRule

RequestStatus = Literal["draft", "active", "on-hold", "revoked", "completed", "entered-in-error", "unknown"]
RequestCommand = Literal["activate", "hold", "revoke", "complete", "mark-as-error"]

STATUSES: Final[tuple[RequestStatus, ...]] = get_args(RequestStatus)
COMMANDS: Final[tuple[RequestCommand, ...]] = get_args(RequestCommand)

TRANSITIONS: Final[Mapping[tuple[RequestStatus, RequestCommand], RequestStatus]] = {
    ("draft", "activate"): "active",
    ("draft", "revoke"): "revoked",
    ("active", "hold"): "on-hold",
    ("active", "complete"): "completed",
    ("active", "revoke"): "revoked",
    ("on-hold", "activate"): "active",
    ("on-hold", "revoke"): "revoked",
    **{(status, "mark-as-error"): "entered-in-error" for status in STATUSES if status != "entered-in-error"},
}


def check_change(before: str, after: str) -> None:
    """Raise BusinessRule unless ServiceRequest.status may go from `before` to `after`."""
    if before == after or any(
        status == before and target == after for (status, _), target in TRANSITIONS.items()
    ):
        return
    allowed = sorted({target for (status, _), target in TRANSITIONS.items() if status == before})
    raise BusinessRule(
        f"ServiceRequest.status cannot go from {before} to {after}; from {before} it goes to "
        + (", ".join(allowed) or "nothing: make a new ServiceRequest that replaces it"),
        expression="ServiceRequest.status",
    )

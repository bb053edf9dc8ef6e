"""Observation.status: the one place that knows which change is allowed.

Project choice along R4's definitions of observation-status: a result that was final is not made preliminary again,
what was cancelled has no result, and entered-in-error is the end.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from kanwa_shared.errors import BusinessRule


class ObservationStatus(StrEnum):
    """R4 observation-status."""

    REGISTERED = "registered"
    PRELIMINARY = "preliminary"
    FINAL = "final"
    AMENDED = "amended"
    CORRECTED = "corrected"
    CANCELLED = "cancelled"
    ENTERED_IN_ERROR = "entered-in-error"
    UNKNOWN = "unknown"


class ObservationCommand(StrEnum):
    """What is done to an Observation."""

    REPORT = "report"
    FINALISE = "finalise"
    AMEND = "amend"
    CORRECT = "correct"
    CANCEL = "cancel"
    MARK_AS_ERROR = "mark-as-error"
    LOSE_TRACK = "lose-track"


_S, _C = ObservationStatus, ObservationCommand
_OPEN: Final = (_S.REGISTERED, _S.PRELIMINARY, _S.UNKNOWN)
_RESULT: Final = (_S.FINAL, _S.AMENDED, _S.CORRECTED)

#: The status after a command, by (status, command); what is not here is refused.
TRANSITIONS: Final[Mapping[tuple[ObservationStatus, ObservationCommand], ObservationStatus]] = {
    **{(status, _C.REPORT): _S.PRELIMINARY for status in _OPEN},
    **{(status, _C.FINALISE): _S.FINAL for status in _OPEN},
    **{(status, _C.CANCEL): _S.CANCELLED for status in _OPEN},
    **{(status, _C.AMEND): _S.AMENDED for status in (*_OPEN, *_RESULT)},
    **{(status, _C.CORRECT): _S.CORRECTED for status in (*_OPEN, *_RESULT)},
    **{(status, _C.LOSE_TRACK): _S.UNKNOWN for status in _OPEN},
    **{(status, _C.MARK_AS_ERROR): _S.ENTERED_IN_ERROR for status in _S if status is not _S.ENTERED_IN_ERROR},
}


def check_change(before: str, after: str) -> None:
    """Raise BusinessRule unless Observation.status may go from `before` to `after`; staying is always allowed."""
    allowed = {target for (status, _), target in TRANSITIONS.items() if status == before}
    if before == after or after in allowed:
        return
    to = ", ".join(sorted(allowed)) or "nothing: it is closed"
    raise BusinessRule(
        f"Observation.status cannot go from {before} to {after}; from {before} it goes to {to}",
        expression="Observation.status",
    )

"""The Procedure's life: which status may follow which, and what a Procedure of the referral loop must say."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from kanwa_shared.errors import BusinessRule, Issue
from kanwa_shared.fhir.json_types import Tree


class ProcedureStatus(StrEnum):
    """R4 event-status (http://hl7.org/fhir/event-status)."""

    PREPARATION = "preparation"
    IN_PROGRESS = "in-progress"
    NOT_DONE = "not-done"
    ON_HOLD = "on-hold"
    STOPPED = "stopped"
    COMPLETED = "completed"
    ENTERED_IN_ERROR = "entered-in-error"
    UNKNOWN = "unknown"


class ProcedureCommand(StrEnum):
    """What can be asked of a Procedure."""

    START = "start"
    SUSPEND = "suspend"
    COMPLETE = "complete"
    STOP = "stop"
    ABANDON = "abandon"
    VOID = "void"


_S = ProcedureStatus
_C = ProcedureCommand

#: The only place that knows the state machine (project choice). An interrupted procedure goes on or is
#: stopped. `unknown` means that the sender does not know, so anything may turn out to be true.
TRANSITIONS: Final[Mapping[tuple[ProcedureStatus, ProcedureCommand], ProcedureStatus]] = MappingProxyType(
    {
        (_S.PREPARATION, _C.START): _S.IN_PROGRESS,
        (_S.PREPARATION, _C.ABANDON): _S.NOT_DONE,
        (_S.IN_PROGRESS, _C.SUSPEND): _S.ON_HOLD,
        (_S.IN_PROGRESS, _C.COMPLETE): _S.COMPLETED,
        (_S.IN_PROGRESS, _C.STOP): _S.STOPPED,
        (_S.ON_HOLD, _C.START): _S.IN_PROGRESS,
        (_S.ON_HOLD, _C.STOP): _S.STOPPED,
        (_S.UNKNOWN, _C.START): _S.IN_PROGRESS,
        (_S.UNKNOWN, _C.COMPLETE): _S.COMPLETED,
        (_S.UNKNOWN, _C.STOP): _S.STOPPED,
        (_S.UNKNOWN, _C.ABANDON): _S.NOT_DONE,
        (_S.PREPARATION, _C.VOID): _S.ENTERED_IN_ERROR,
        (_S.IN_PROGRESS, _C.VOID): _S.ENTERED_IN_ERROR,
        (_S.NOT_DONE, _C.VOID): _S.ENTERED_IN_ERROR,
        (_S.ON_HOLD, _C.VOID): _S.ENTERED_IN_ERROR,
        (_S.STOPPED, _C.VOID): _S.ENTERED_IN_ERROR,
        (_S.COMPLETED, _C.VOID): _S.ENTERED_IN_ERROR,
        (_S.UNKNOWN, _C.VOID): _S.ENTERED_IN_ERROR,
    }
)

#: A ServiceRequest has at most one Procedure in these.
OPEN: Final = frozenset({_S.PREPARATION, _S.IN_PROGRESS, _S.ON_HOLD})

#: These end a Procedure before its aim, so they need Procedure.statusReason.
NEEDS_REASON: Final = frozenset({_S.NOT_DONE, _S.STOPPED})


def after(status: ProcedureStatus, command: ProcedureCommand) -> ProcedureStatus:
    """The status that `command` leads to. Raises BusinessRule where the table has no such step."""
    try:
        return TRANSITIONS[(status, command)]
    except KeyError:
        raise BusinessRule(
            f"a Procedure that is {status} cannot be asked to {command}; {_ways_on(status)}",
            expression="Procedure.status",
        ) from None


def check_change(before: str, to: str) -> None:
    """Refuse a change of status that the table does not have; no change is always allowed.

    Raises BusinessRule that names the statuses which may follow `before`.
    """
    if before == to:
        return
    known = ProcedureStatus(before)
    if ProcedureStatus(to) not in following(known):
        raise BusinessRule(
            f"a Procedure cannot go from {before} to {to}; {_ways_on(known)}", expression="Procedure.status"
        )


def following(status: ProcedureStatus) -> frozenset[ProcedureStatus]:
    """Statuses that may follow `status`."""
    return frozenset(to for (before, _), to in TRANSITIONS.items() if before is status)


def missing_content(procedure: Tree) -> list[Issue]:
    """What a Procedure of the referral loop lacks for its status: a reason, or when it was performed."""
    status = procedure.get("status")
    if status in NEEDS_REASON and not procedure.get("statusReason"):
        return [
            Issue(
                "business-rule",
                f"a Procedure that is {status} says why: give statusReason with a code or text",
                ("Procedure.statusReason",),
            )
        ]
    if status == ProcedureStatus.COMPLETED and not _performed(procedure):
        return [
            Issue(
                "business-rule",
                "a completed Procedure says when it was performed: give performedPeriod or performedDateTime",
                ("Procedure.performed",),
            )
        ]
    return []


def _performed(procedure: Tree) -> bool:
    return any(procedure.get(name) for name in ("performedPeriod", "performedDateTime", "performedString"))


def _ways_on(status: ProcedureStatus) -> str:
    ways = sorted(following(status) - {ProcedureStatus.ENTERED_IN_ERROR})
    if not ways:
        return f"{status} is final"
    return f"from {status} it may go to {', '.join(ways)}"

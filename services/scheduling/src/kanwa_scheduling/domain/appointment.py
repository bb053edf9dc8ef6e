"""The Appointment's life: which status may follow which."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from kanwa_shared.errors import BusinessRule


class AppointmentStatus(StrEnum):
    """R4 appointmentstatus (http://hl7.org/fhir/appointmentstatus)."""

    PROPOSED = "proposed"
    PENDING = "pending"
    BOOKED = "booked"
    ARRIVED = "arrived"
    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"
    NOSHOW = "noshow"
    ENTERED_IN_ERROR = "entered-in-error"
    CHECKED_IN = "checked-in"
    WAITLIST = "waitlist"


class AppointmentCommand(StrEnum):
    """What can be asked of an Appointment."""

    PROPOSE = "propose"
    WAITLIST = "waitlist"
    HOLD = "hold"
    BOOK = "book"
    CHECK_IN = "check-in"
    ARRIVE = "arrive"
    FULFIL = "fulfil"
    CANCEL = "cancel"
    MISS = "miss"
    VOID = "void"


_S = AppointmentStatus
_C = AppointmentCommand

#: The only place that knows the state machine (project choice: the R4 specification only draws a picture).
TRANSITIONS: Final[Mapping[tuple[AppointmentStatus, AppointmentCommand], AppointmentStatus]] = (
    MappingProxyType(
        {
            (_S.PROPOSED, _C.HOLD): _S.PENDING,
            (_S.PROPOSED, _C.BOOK): _S.BOOKED,
            (_S.PROPOSED, _C.CANCEL): _S.CANCELLED,
            (_S.PROPOSED, _C.WAITLIST): _S.WAITLIST,
            (_S.WAITLIST, _C.PROPOSE): _S.PROPOSED,
            (_S.WAITLIST, _C.BOOK): _S.BOOKED,
            (_S.WAITLIST, _C.CANCEL): _S.CANCELLED,
            (_S.PENDING, _C.BOOK): _S.BOOKED,
            (_S.PENDING, _C.CANCEL): _S.CANCELLED,
            (_S.BOOKED, _C.CHECK_IN): _S.CHECKED_IN,
            (_S.BOOKED, _C.ARRIVE): _S.ARRIVED,
            (_S.BOOKED, _C.CANCEL): _S.CANCELLED,
            (_S.BOOKED, _C.MISS): _S.NOSHOW,
            (_S.CHECKED_IN, _C.ARRIVE): _S.ARRIVED,
            (_S.ARRIVED, _C.FULFIL): _S.FULFILLED,
            # A resource written by mistake can be marked so whatever its state was.
            (_S.PROPOSED, _C.VOID): _S.ENTERED_IN_ERROR,
            (_S.PENDING, _C.VOID): _S.ENTERED_IN_ERROR,
            (_S.BOOKED, _C.VOID): _S.ENTERED_IN_ERROR,
            (_S.ARRIVED, _C.VOID): _S.ENTERED_IN_ERROR,
            (_S.FULFILLED, _C.VOID): _S.ENTERED_IN_ERROR,
            (_S.CANCELLED, _C.VOID): _S.ENTERED_IN_ERROR,
            (_S.NOSHOW, _C.VOID): _S.ENTERED_IN_ERROR,
            (_S.CHECKED_IN, _C.VOID): _S.ENTERED_IN_ERROR,
            (_S.WAITLIST, _C.VOID): _S.ENTERED_IN_ERROR,
        }
    )
)

#: While in one of these, the Appointment keeps its actors: nobody else can have them at that time.
HOLDING: Final = frozenset({_S.PENDING, _S.BOOKED, _S.CHECKED_IN, _S.ARRIVED})

#: In these R4 lets an Appointment say why it did not take place (invariant app-4).
WITH_CANCELATION_REASON: Final = frozenset({_S.CANCELLED, _S.NOSHOW})


def after(status: AppointmentStatus, command: AppointmentCommand) -> AppointmentStatus:
    """The status that `command` leads to. Raises BusinessRule where the table has no such step."""
    try:
        return TRANSITIONS[(status, command)]
    except KeyError:
        raise BusinessRule(
            f"an Appointment that is {status} cannot be asked to {command}; {_ways_on(status)}",
            expression="Appointment.status",
        ) from None


def check_change(before: str, to: str) -> None:
    """Refuse a change of status that the table does not have; no change is always allowed.

    Raises BusinessRule that names the statuses which may follow `before`.
    """
    if before == to:
        return
    known = AppointmentStatus(before)
    if AppointmentStatus(to) not in following(known):
        raise BusinessRule(
            f"an Appointment cannot go from {before} to {to}; {_ways_on(known)}",
            expression="Appointment.status",
        )


def following(status: AppointmentStatus) -> frozenset[AppointmentStatus]:
    """Statuses that may follow `status`."""
    return frozenset(to for (before, _), to in TRANSITIONS.items() if before is status)


def _ways_on(status: AppointmentStatus) -> str:
    ways = sorted(following(status) - {AppointmentStatus.ENTERED_IN_ERROR})
    if not ways:
        return f"{status} is final: create a new Appointment"
    return f"from {status} it may go to {', '.join(ways)}"

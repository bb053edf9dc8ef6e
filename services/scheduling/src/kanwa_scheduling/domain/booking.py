"""Booking: which actors an Appointment takes, and how Slots are cut so that free Slots tell the truth."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from kanwa_scheduling.domain.appointment import HOLDING, AppointmentStatus
from kanwa_scheduling.domain.calendars import SlotWindow
from kanwa_scheduling.domain.interval import Interval, difference
from kanwa_scheduling.domain.references import relative
from kanwa_shared.fhir.json_types import Tree

BusyStatus = Literal["busy", "busy-tentative"]

#: Actors who cannot be in two Appointments at once. A HealthcareService has many rooms and people.
EXCLUSIVE_ACTOR_TYPES: Final = frozenset(
    {"Patient", "Practitioner", "PractitionerRole", "Location", "Device"}
)

#: Slot statuses that no booking may override.
CLOSED: Final = frozenset({"busy", "busy-unavailable", "busy-tentative"})


@dataclass(frozen=True, slots=True)
class SlotPart:
    """A piece of a Slot after a change."""

    interval: Interval
    status: str
    booked_for: str | None


@dataclass(frozen=True, slots=True)
class SlotChange:
    """What becomes of one Slot: it keeps its id as `becomes`, and `added` are new Slots cut from it."""

    slot_id: str
    becomes: SlotPart
    added: tuple[SlotPart, ...] = ()


def holds_actors(status: str, end: datetime | None, now: datetime) -> bool:
    """Whether an Appointment keeps its actors: its status says so and it is not over yet.

    One that ended before it was sent is a record of the past; it takes nobody's time.
    """
    return status in HOLDING and end is not None and end > now


def busy_status(status: str) -> BusyStatus:
    """How the Slots of an Appointment read: a hold is tentative."""
    return "busy-tentative" if status == AppointmentStatus.PENDING else "busy"


def exclusive_actors(appointment: Tree) -> tuple[str, ...]:
    """References of the actors whom the Appointment takes, sorted: those who have not declined."""
    found: set[str] = set()
    for participant in appointment.get("participant", ()):
        reference = relative(participant.get("actor", {}).get("reference"))
        if (
            reference.partition("/")[0] in EXCLUSIVE_ACTOR_TYPES
            and participant.get("status") != "declined"
            and participant.get("required") != "information-only"
        ):
            found.add(reference)
    return tuple(sorted(found))


def rearrange(
    windows: Sequence[SlotWindow],
    appointment_id: str,
    taking: Interval | None,
    status: BusyStatus = "busy",
) -> list[SlotChange]:
    """The changes that give an Appointment exactly the time `taking` (None: no time at all).

    `windows` are the Slots that it keeps busy now and every Slot of its actors that overlaps `taking`. A Slot
    that it no longer needs becomes free; a free Slot that is taken in part keeps its id on the taken part, so
    that the reference which `$find` offered stays true, and what is left over becomes new free Slots. Slots
    that others keep busy are left alone. Only Slots that really change are returned, in the order of ids.
    """
    changes: list[SlotChange] = []
    for window in sorted(windows, key=lambda w: w.id):
        available = window.status == "free" or window.booked_for == appointment_id
        if not available:
            continue
        change = _cut(window, appointment_id, taking, status)
        if change is not None:
            changes.append(change)
    return changes


def _cut(
    window: SlotWindow, appointment_id: str, taking: Interval | None, status: BusyStatus
) -> SlotChange | None:
    if taking is None or not window.interval.overlaps(taking):
        becomes, added = SlotPart(window.interval, "free", None), ()
    else:
        taken = Interval(max(window.interval.start, taking.start), min(window.interval.end, taking.end))
        becomes = SlotPart(taken, status, appointment_id)
        added = tuple(SlotPart(rest, "free", None) for rest in difference([window.interval], [taken]))
    if SlotPart(window.interval, window.status, window.booked_for) == becomes:
        return None
    return SlotChange(window.id, becomes, added)


def blocking_slots(windows: Iterable[SlotWindow], wanted: Interval, appointment_id: str) -> list[SlotWindow]:
    """Slots that forbid `wanted`: not free, overlapping, and not kept for this very Appointment."""
    return [
        window
        for window in windows
        if window.status in CLOSED
        and window.booked_for != appointment_id
        and window.interval.overlaps(wanted)
    ]

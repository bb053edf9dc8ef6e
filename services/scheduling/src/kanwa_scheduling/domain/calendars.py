"""Calendars: who can take part in a procedure, where, and when they are free."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kanwa_scheduling.domain.interval import Interval, difference, intersection, union


class TeamRole(StrEnum):
    """What an actor is needed for; codes of `codes.TEAM_ROLE` in Schedule.serviceCategory."""

    SUITE = "suite"
    OPERATOR = "operator"
    NURSE = "nurse"
    ANAESTHESIA = "anaesthesia"
    DEVICE = "device"


#: Every procedure needs these two; a referral may ask for more.
CORE_TEAM: Final = (TeamRole.SUITE, TeamRole.OPERATOR)

#: Roles whose Schedule must name a procedure before its actor is offered for it: a skill is never assumed.
SKILL_MUST_BE_STATED: Final = frozenset({TeamRole.OPERATOR})

_ROLE_BY_ACTOR_TYPE: Final[Mapping[str, TeamRole]] = {
    "PractitionerRole": TeamRole.OPERATOR,
    "Practitioner": TeamRole.OPERATOR,
    "Device": TeamRole.DEVICE,
    "Location": TeamRole.SUITE,
}


@dataclass(frozen=True, slots=True)
class ScheduleFacts:
    """What a Schedule says: `actors` are references, `procedures` ir-procedure codes, `roles` team roles."""

    id: str
    actors: tuple[str, ...]
    active: bool = True
    horizon: Interval | None = None
    procedures: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()

    @property
    def subjects(self) -> tuple[str, ...]:
        """Whose calendar it is: the people named, else the devices, else the rooms.

        A room beside a person is where the person works, not a second calendar.
        """
        for types in (("PractitionerRole", "Practitioner"), ("Device",), ("Location",)):
            found = tuple(actor for actor in self.actors if actor.partition("/")[0] in types)
            if found:
                return found
        return ()

    @property
    def places(self) -> frozenset[str]:
        """Rooms named beside the people."""
        subjects = self.subjects
        return frozenset(
            actor for actor in self.actors if actor.startswith("Location/") and actor not in subjects
        )

    def role_of(self, subject: str) -> TeamRole:
        """The stated role, else the one that the kind of actor has by default."""
        stated = [role for role in TeamRole if role in self.roles]
        return stated[0] if stated else _ROLE_BY_ACTOR_TYPE[subject.partition("/")[0]]

    def offers(self, procedure: str, role: TeamRole) -> bool:
        """Whether the actor may be planned for `procedure`; silence is a yes where no skill is needed."""
        if not self.procedures:
            return role not in SKILL_MUST_BE_STATED
        return procedure in self.procedures


@dataclass(frozen=True, slots=True)
class SlotWindow:
    """One Slot: `booked_for` is the id of the Appointment that keeps it busy, None if somebody else does.

    `version` is that of the Slot when it was read: what is planned from this window holds for it only.
    """

    id: str
    schedule_id: str
    status: str
    interval: Interval
    booked_for: str | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class ActorCalendar:
    """One actor in one role: `free` is what `union` returns; `places` are references, empty if unknown.

    `booked_minutes` is how much of the searched period is taken by Appointments: the load.
    """

    reference: str
    role: TeamRole
    free: tuple[Interval, ...]
    places: frozenset[str] = frozenset()
    booked_minutes: int = 0

    def works_at(self, suite: "ActorCalendar") -> bool:
        """Whether this actor can be in that suite; an actor of unknown place can be anywhere."""
        return not self.places or bool(self.places & suite.places)


def calendars_for(
    procedure: str,
    schedules: Sequence[ScheduleFacts],
    slots: Iterable[SlotWindow],
    bookings: Mapping[str, Sequence[Interval]],
    places: Mapping[str, frozenset[str]],
) -> list[ActorCalendar]:
    """The calendars of all actors that may be planned for `procedure`, by role and reference.

    Free is what free Slots of active Schedules offer inside the planning horizon, less every Slot of the same
    actor that is not free (whatever Schedule it is in) and less `bookings`, the actor's Appointments.
    `bookings` and `places` are by actor reference.
    """
    by_schedule: dict[str, list[SlotWindow]] = {}
    for slot in slots:
        by_schedule.setdefault(slot.schedule_id, []).append(slot)
    offered: dict[tuple[str, TeamRole], list[Interval]] = {}
    stated_places: dict[str, frozenset[str]] = {}
    for schedule in schedules:
        for subject in schedule.subjects:
            role = schedule.role_of(subject)
            stated_places[subject] = stated_places.get(subject, frozenset()) | schedule.places
            if schedule.active and schedule.offers(procedure, role):
                offered.setdefault((subject, role), []).extend(
                    _offered(schedule, by_schedule.get(schedule.id, ()))
                )
    busy = _busy(schedules, by_schedule)
    return [
        ActorCalendar(
            reference=subject,
            role=role,
            free=tuple(
                difference(union(windows), union([*busy.get(subject, ()), *bookings.get(subject, ())]))
            ),
            places=stated_places[subject] | places.get(subject, frozenset()),
            booked_minutes=_minutes(bookings.get(subject, ())),
        )
        for (subject, role), windows in sorted(offered.items())
    ]


def _offered(schedule: ScheduleFacts, slots: Iterable[SlotWindow]) -> list[Interval]:
    free = union(slot.interval for slot in slots if slot.status == "free")
    return intersection(free, [schedule.horizon]) if schedule.horizon else free


def _busy(
    schedules: Sequence[ScheduleFacts], by_schedule: Mapping[str, Sequence[SlotWindow]]
) -> dict[str, list[Interval]]:
    """Time that any Schedule of an actor, active or not, says is taken."""
    taken: dict[str, list[Interval]] = {}
    for schedule in schedules:
        for subject in schedule.subjects:
            taken.setdefault(subject, []).extend(
                slot.interval
                for slot in by_schedule.get(schedule.id, ())
                if slot.status not in ("free", "entered-in-error")
            )
    return taken


def _minutes(intervals: Iterable[Interval]) -> int:
    return sum(int((interval.end - interval.start).total_seconds()) // 60 for interval in intervals)

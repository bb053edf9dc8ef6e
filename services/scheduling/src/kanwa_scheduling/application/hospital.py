"""The hospital group as a calendar search sees it: Schedules, Slots, bookings, and where everybody works."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kanwa_scheduling.application.actors import people_behind, trees_of
from kanwa_scheduling.domain.calendars import ActorCalendar, ScheduleFacts, SlotWindow, calendars_for
from kanwa_scheduling.domain.interval import Interval
from kanwa_scheduling.domain.length_of_stay import expected_length_of_stay
from kanwa_scheduling.domain.references import reference_id
from kanwa_scheduling.store import slot_windows
from kanwa_scheduling.store.bookings import bookings_of
from kanwa_scheduling.store.schedules import all_schedules
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context

#: R4 standard extension: a Location's IANA time zone.
TIMEZONE_URL: Final = "http://hl7.org/fhir/StructureDefinition/timezone"
#: Rooms are part of units, units of buildings, buildings of sites; a deeper tree is a mistake or a circle.
MAX_LEVELS: Final = 8


@dataclass(frozen=True, slots=True)
class Hospital:
    """Everything that `calendars_for` needs, and how actors are shown; keyed by actor reference.

    `people` has the Practitioner behind each PractitionerRole, `zones` the time zone of each Location,
    `locations` the suites and what they are part of.
    """

    schedules: Sequence[ScheduleFacts]
    slots: Sequence[SlotWindow]
    bookings: Mapping[str, Sequence[Interval]]
    places: Mapping[str, frozenset[str]]
    people: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    zones: Mapping[str, tzinfo] = field(default_factory=dict[str, tzinfo])
    displays: Mapping[str, str] = field(default_factory=dict[str, str])
    locations: Mapping[str, Tree] = field(default_factory=dict[str, Tree])

    def calendars(self, procedure: str) -> list[ActorCalendar]:
        """Calendars of all who may be planned for a procedure."""
        return calendars_for(procedure, self.schedules, self.slots, self.bookings, self.places)

    def length_of_stay(self, procedure: str, suite: str) -> Tree | None:
        """What the suite's site expects for a procedure, or None if it states nothing."""
        chain = _chain(suite, self.locations)
        return expected_length_of_stay(procedure, (self.locations.get(place, {}) for place in chain))

    def zone(self, suite: str) -> tzinfo:
        """The time zone of a room; UTC where no Location says one."""
        return self.zones.get(suite, UTC)

    def free_slots(self, actors: Iterable[str], interval: Interval) -> list[str]:
        """Ids of the free Slots of these actors that a booking of `interval` would take."""
        wanted = set(actors)
        theirs = {schedule.id for schedule in self.schedules if wanted & set(schedule.subjects)}
        return [
            slot.id
            for slot in self.slots
            if slot.status == "free" and slot.schedule_id in theirs and slot.interval.overlaps(interval)
        ]


async def load_hospital(
    context: Context, period: Interval, *, only: Iterable[str] | None = None, held_by: str = ""
) -> Hospital:
    """Calendars inside `period`, of all actors or of `only` these.

    What the Appointment `held_by` keeps counts as free: it is asked for by its own holder.
    """
    chosen = None if only is None else set(only)
    schedules = [
        schedule
        for schedule in await all_schedules(context.store.pool)
        if chosen is None or chosen & set(schedule.subjects)
    ]
    slots = await slot_windows.overlapping(context.store.pool, [s.id for s in schedules], period)
    actors = {actor for schedule in schedules for actor in schedule.actors}
    people = await people_behind(context, actors)
    rooms = await _locations(context, actors)
    roles = await trees_of(context, people)
    return Hospital(
        schedules=schedules,
        slots=[_as_free(slot) if held_by and slot.booked_for == held_by else slot for slot in slots],
        bookings=await _bookings(context, actors, people, period, held_by),
        places={
            **{actor: _room_places(actor, rooms) for actor in actors if actor.startswith("Location/")},
            **{role: _role_places(tree) for role, tree in roles.items()},
        },
        people=people,
        zones={actor: zone for actor in actors if (zone := _zone_of(actor, rooms)) is not None},
        displays=_displays(actors, rooms, roles),
        locations=rooms,
    )


async def _bookings(
    context: Context, actors: set[str], people: Mapping[str, str | None], period: Interval, held_by: str
) -> dict[str, list[Interval]]:
    """Booked time by actor; a role is taken whenever its person is."""
    everybody = sorted(actors | {person for person in people.values() if person})
    found: dict[str, list[Interval]] = {}
    for booking in await bookings_of(
        context.store.pool, everybody, period, now=context.now, except_for=held_by
    ):
        found.setdefault(booking.actor, []).append(booking.interval)
    for role, person in people.items():
        if person in found:
            found[role] = list(dict.fromkeys([*found.get(role, ()), *found[person]]))
    return found


async def _locations(context: Context, actors: Iterable[str]) -> dict[str, Tree]:
    """Locations by reference, with those that they are part of."""
    found: dict[str, Tree] = {}
    wanted = {actor for actor in actors if actor.startswith("Location/")}
    for _ in range(MAX_LEVELS):
        if not wanted:
            break
        level = await trees_of(context, wanted)
        found.update(level)
        wanted = {parent for tree in level.values() if (parent := _parent(tree)) is not None} - set(found)
    return found


def _chain(room: str, rooms: Mapping[str, Tree]) -> list[str]:
    """The room and what it is part of, from the inside out."""
    chain: list[str] = []
    current: str | None = room
    while current is not None and current not in chain:
        chain.append(current)
        current = _parent(rooms.get(current, {}))
    return chain


def _parent(location: Tree) -> str | None:
    id = reference_id(location.get("partOf", {}).get("reference"), "Location")
    return f"Location/{id}" if id else None


def _room_places(room: str, rooms: Mapping[str, Tree]) -> frozenset[str]:
    chain = _chain(room, rooms)
    managing = (rooms.get(place, {}).get("managingOrganization", {}).get("reference") for place in chain)
    organizations = (reference_id(reference, "Organization") for reference in managing)
    return frozenset(chain) | {f"Organization/{id}" for id in organizations if id}


def _role_places(role: Tree) -> frozenset[str]:
    rooms = (reference_id(place.get("reference"), "Location") for place in role.get("location", ()))
    organization = reference_id(role.get("organization", {}).get("reference"), "Organization")
    places = {f"Location/{id}" for id in rooms if id}
    return frozenset(places | ({f"Organization/{organization}"} if organization else set()))


def _zone_of(actor: str, rooms: Mapping[str, Tree]) -> tzinfo | None:
    for place in _chain(actor, rooms):
        for extension in rooms.get(place, {}).get("extension", ()):
            if extension.get("url") == TIMEZONE_URL:
                return _zone(extension.get("valueCode", ""))
    return None


def _zone(name: str) -> tzinfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return None


def _displays(actors: Iterable[str], rooms: Mapping[str, Tree], roles: Mapping[str, Tree]) -> dict[str, str]:
    shown = {actor: rooms.get(actor, {}).get("name") for actor in actors}
    shown |= {role: tree.get("practitioner", {}).get("display") for role, tree in roles.items()}
    return {actor: text for actor, text in shown.items() if text}


def _as_free(slot: SlotWindow) -> SlotWindow:
    return SlotWindow(slot.id, slot.schedule_id, "free", slot.interval)

"""Candidate times against an oracle that walks the minutes, on random calendars and both DST days."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kanwa_scheduling.domain.calendars import (
    ActorCalendar,
    ScheduleFacts,
    SlotWindow,
    TeamRole,
    calendars_for,
)
from kanwa_scheduling.domain.candidates import Candidate, Wish, find_candidates
from kanwa_scheduling.domain.interval import Interval

BERLIN = ZoneInfo("Europe/Berlin")
QUARTER = timedelta(minutes=15)
CODE = "vertebroplasty"

# An ordinary day, the day that loses an hour and the day that has one twice.
DAYS = [
    datetime(2026, 3, 2, tzinfo=BERLIN),
    datetime(2026, 3, 29, tzinfo=BERLIN),
    datetime(2026, 10, 25, tzinfo=BERLIN),
]


def utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


@st.composite
def slots(draw: st.DrawFn, day: datetime, schedule: str) -> list[SlotWindow]:
    midnight = utc(day)
    found: list[SlotWindow] = []
    for number in range(draw(st.integers(0, 6))):
        start = midnight + draw(st.integers(0, 40)) * QUARTER
        end = start + draw(st.integers(0, 16)) * QUARTER
        status = draw(
            st.sampled_from(
                ["free", "free", "free", "busy", "busy-tentative", "busy-unavailable", "entered-in-error"]
            )
        )
        found.append(SlotWindow(f"{schedule}-{number}", schedule, status, Interval(start, end)))
    return found


ACTORS = ["Location/a", "Location/b", "PractitionerRole/x", "PractitionerRole/y", "Practitioner/z"]
PLACES = {
    "Location/a": frozenset({"Location/a", "Organization/north"}),
    "Location/b": frozenset({"Location/b", "Organization/south"}),
    "PractitionerRole/x": frozenset({"Organization/north"}),
    "PractitionerRole/y": frozenset({"Organization/south", "Organization/north"}),
}


@st.composite
def hospitals(
    draw: st.DrawFn,
) -> tuple[datetime, list[ScheduleFacts], list[SlotWindow], dict[str, list[Interval]]]:
    day = draw(st.sampled_from(DAYS))
    schedules: list[ScheduleFacts] = []
    windows: list[SlotWindow] = []
    bookings: dict[str, list[Interval]] = {}
    for actor in ACTORS:
        for number in range(draw(st.integers(0, 2))):
            id = f"{actor}-{number}"
            horizon = None
            if draw(st.integers(0, 3)) == 0:
                start = utc(day) + draw(st.integers(0, 24)) * QUARTER
                horizon = Interval(start, start + draw(st.integers(1, 24)) * QUARTER)
            schedules.append(
                ScheduleFacts(
                    id=id,
                    actors=(actor,),
                    active=draw(st.integers(0, 5)) > 0,
                    horizon=horizon,
                    procedures=draw(
                        st.sampled_from(
                            [frozenset(), frozenset({CODE}), frozenset({CODE}), frozenset({"paracentesis"})]
                        )
                    ),
                )
            )
            windows += draw(slots(day, id))
        if draw(st.integers(0, 2)) == 0:
            start = utc(day) + draw(st.integers(0, 40)) * QUARTER
            bookings[actor] = [Interval(start, start + draw(st.integers(1, 8)) * QUARTER)]
    return day, schedules, windows, bookings


def is_free(
    actor: str,
    moment: datetime,
    schedules: Sequence[ScheduleFacts],
    windows: Sequence[SlotWindow],
    bookings: dict[str, list[Interval]],
) -> bool:
    """Whether an actor may be planned in the quarter of an hour from `moment`, from first principles."""
    offered = False
    for schedule in schedules:
        if actor not in schedule.actors:
            continue
        for window in windows:
            if window.schedule_id != schedule.id or not window.interval.start <= moment < window.interval.end:
                continue
            if window.status in {"busy", "busy-tentative", "busy-unavailable"}:
                return False
            skilled = CODE in schedule.procedures or (
                not schedule.procedures and actor.startswith("Location/")
            )
            inside = schedule.horizon is None or schedule.horizon.start <= moment < schedule.horizon.end
            offered = offered or (window.status == "free" and schedule.active and skilled and inside)
    return offered and not any(b.start <= moment < b.end for b in bookings.get(actor, []))


@settings(max_examples=150, deadline=None)
@given(hospitals(), st.integers(1, 6))
def test_the_starts_found_are_those_that_a_walk_over_the_minutes_finds(
    hospital: tuple[datetime, list[ScheduleFacts], list[SlotWindow], dict[str, list[Interval]]], quarters: int
) -> None:
    day, schedules, windows, bookings = hospital
    period = Interval(utc(day), utc(day + timedelta(days=1)))
    wish = Wish(period=period, duration=quarters * QUARTER, now=utc(day), due=period.end, spacing=QUARTER)
    found = find_candidates(calendars_for(CODE, schedules, windows, bookings, PLACES), wish)

    expected: set[tuple[str, datetime]] = set()
    suites = [actor for actor in ACTORS if actor.startswith("Location/")]
    operators = [actor for actor in ACTORS if not actor.startswith("Location/")]
    free_quarters = {
        (actor, moment): is_free(actor, moment, schedules, windows, bookings)
        for actor in ACTORS
        for moment in _quarters(period)
    }
    for suite in suites:
        for operator in operators:
            if operator in PLACES and not PLACES[operator] & PLACES[suite]:
                continue
            for start in _quarters(period):
                needed = [start + n * QUARTER for n in range(quarters)]
                if all(
                    free_quarters.get((actor, moment), False)
                    for actor in (suite, operator)
                    for moment in needed
                ):
                    expected.add((suite, start))
    assert {(c.suite.reference, c.interval.start) for c in found} == expected
    assert [c.rank for c in found] == sorted(c.rank for c in found)
    for candidate in found:
        _check(candidate, quarters)


def _quarters(period: Interval) -> list[datetime]:
    count = int((period.end - period.start) / QUARTER)
    return [period.start + n * QUARTER for n in range(count)]


def _team_is_free(calendars: Sequence[ActorCalendar], team: Iterable[TeamRole], interval: Interval) -> bool:
    return all(
        any(c.role is role and any(free.covers(interval) for free in c.free) for c in calendars)
        for role in team
    )


def _check(candidate: Candidate, quarters: int) -> None:
    assert candidate.interval.end - candidate.interval.start == quarters * QUARTER
    assert [actor.role for actor in candidate.actors] == [TeamRole.SUITE, TeamRole.OPERATOR]
    assert _team_is_free(candidate.actors, (TeamRole.SUITE, TeamRole.OPERATOR), candidate.interval)


MONDAY = datetime(2026, 3, 2, 8, tzinfo=UTC)


def hours(start: float, end: float) -> Interval:
    return Interval(MONDAY + timedelta(hours=start), MONDAY + timedelta(hours=end))


def a_suite(reference: str, *free: Interval, at: str = "north", load: int = 0) -> ActorCalendar:
    return ActorCalendar(
        reference, TeamRole.SUITE, free, frozenset({reference, f"Organization/{at}"}), booked_minutes=load
    )


def an_operator(
    reference: str, *free: Interval, at: str = "north", load: int = 0, role: TeamRole = TeamRole.OPERATOR
) -> ActorCalendar:
    return ActorCalendar(reference, role, free, frozenset({f"Organization/{at}"}), booked_minutes=load)


def a_wish(**changes: object) -> Wish:
    defaults: dict[str, object] = {
        "period": hours(0, 48),
        "duration": timedelta(hours=1),
        "now": MONDAY,
        "due": MONDAY + timedelta(days=14),
    }
    return Wish(**{**defaults, **changes})


def test_a_transfer_counts_as_late_as_it_takes() -> None:
    near, far = a_suite("Location/near", hours(3, 4)), a_suite("Location/far", hours(2, 4), at="south")
    operators = [
        an_operator("Practitioner/n", hours(0, 9)),
        an_operator("Practitioner/f", hours(0, 9), at="south"),
    ]
    wish = a_wish(home=frozenset({"Organization/north"}), transfer_time=timedelta(hours=2))
    found = find_candidates([near, far, *operators], wish)
    assert [(c.suite.reference, c.interval, c.transfer) for c in found] == [
        ("Location/near", hours(3, 4), False),
        ("Location/far", hours(2, 3), True),
        ("Location/far", hours(2.5, 3.5), True),
        ("Location/far", hours(3, 4), True),
    ]


def test_no_time_is_offered_before_a_transfer_can_be_there() -> None:
    far = a_suite("Location/far", hours(0, 4), at="south")
    wish = a_wish(home=frozenset({"Organization/north"}), transfer_time=timedelta(hours=2))
    found = find_candidates([far, an_operator("Practitioner/f", hours(0, 9), at="south")], wish)
    assert found[0].interval == hours(2, 3)


def test_an_earlier_start_elsewhere_wins_when_the_transfer_is_worth_it() -> None:
    near, far = a_suite("Location/near", hours(30, 32)), a_suite("Location/far", hours(4, 5), at="south")
    operators = [
        an_operator("Practitioner/n", hours(0, 48)),
        an_operator("Practitioner/f", hours(0, 9), at="south"),
    ]
    found = find_candidates([near, far, *operators], a_wish(home=frozenset({"Organization/north"})))
    assert found[0].suite.reference == "Location/far"


def test_a_time_after_the_due_time_comes_after_those_before_it_and_says_so() -> None:
    suite, operator = (
        a_suite("Location/s", hours(0, 1), hours(20, 21)),
        an_operator("Practitioner/o", hours(0, 48)),
    )
    found = find_candidates([suite, operator], a_wish(due=MONDAY + timedelta(hours=2)))
    assert [(c.interval.start, c.late) for c in found] == [
        (hours(0, 1).start, False),
        (hours(20, 21).start, True),
    ]


def test_the_less_loaded_operator_is_chosen_at_the_same_time() -> None:
    suite = a_suite("Location/s", hours(0, 1))
    team = [
        an_operator("Practitioner/tired", hours(0, 1), load=300),
        an_operator("Practitioner/z", hours(0, 1)),
    ]
    (found,) = find_candidates([suite, *team], a_wish())
    assert [actor.reference for actor in found.actors] == ["Location/s", "Practitioner/z"]


def test_a_role_that_is_asked_for_and_missing_leaves_no_time() -> None:
    calendars = [a_suite("Location/s", hours(0, 9)), an_operator("Practitioner/o", hours(0, 9))]
    team = (TeamRole.SUITE, TeamRole.OPERATOR, TeamRole.ANAESTHESIA)
    assert find_candidates(calendars, a_wish(team=team)) == []
    anaesthetist = an_operator("Practitioner/a", hours(4, 6), role=TeamRole.ANAESTHESIA)
    found = find_candidates([*calendars, anaesthetist], a_wish(team=team))
    assert found[0].interval == hours(4, 5)
    assert [actor.reference for actor in found[0].actors] == [
        "Location/s",
        "Practitioner/o",
        "Practitioner/a",
    ]


def test_one_person_does_not_fill_two_roles() -> None:
    calendars = [
        a_suite("Location/s", hours(0, 9)),
        an_operator("Practitioner/o", hours(0, 9)),
        an_operator("Practitioner/o", hours(0, 9), role=TeamRole.ANAESTHESIA),
    ]
    team = (TeamRole.SUITE, TeamRole.OPERATOR, TeamRole.ANAESTHESIA)
    assert find_candidates(calendars, a_wish(team=team)) == []


def test_the_patients_own_appointments_are_kept_free() -> None:
    calendars = [a_suite("Location/s", hours(0, 3)), an_operator("Practitioner/o", hours(0, 3))]
    found = find_candidates(calendars, a_wish(patient_busy=(hours(0, 2),)))
    assert [c.interval for c in found] == [hours(2, 3)]


def test_an_emergency_now_starts_on_the_next_five_minutes() -> None:
    calendars = [a_suite("Location/s", hours(0, 3)), an_operator("Practitioner/o", hours(0, 3))]
    found = find_candidates(calendars, a_wish(now=MONDAY + timedelta(minutes=7, seconds=3)))
    assert [c.interval.start - MONDAY for c in found[:3]] == [
        timedelta(minutes=10),
        timedelta(minutes=30),
        timedelta(minutes=60),
    ]


@pytest.mark.parametrize("day", DAYS[1:], ids=["one hour is missing", "one hour comes twice"])
def test_a_window_over_a_clock_change_is_as_long_as_its_instants(day: datetime) -> None:
    window = Interval(utc(day.replace(hour=1)), utc(day.replace(hour=5)))
    calendars = [a_suite("Location/s", window), an_operator("Practitioner/o", window)]
    wish = a_wish(period=window, now=window.start, due=window.end, duration=timedelta(hours=4))
    expected = 1 if (window.end - window.start) >= timedelta(hours=4) else 0
    found = find_candidates(calendars, wish)
    assert (len(found) > 0) == (expected > 0)
    assert {c.interval.end - c.interval.start for c in found} <= {timedelta(hours=4)}


def test_a_schedule_of_people_names_rooms_as_places_only() -> None:
    schedule = ScheduleFacts("s", ("Location/a", "PractitionerRole/x"), procedures=frozenset({CODE}))
    assert schedule.subjects == ("PractitionerRole/x",)
    assert schedule.places == frozenset({"Location/a"})
    assert schedule.role_of("PractitionerRole/x") is TeamRole.OPERATOR


def test_a_stated_role_outranks_the_kind_of_actor() -> None:
    schedule = ScheduleFacts("s", ("PractitionerRole/x",), roles=frozenset({"anaesthesia"}))
    assert schedule.role_of("PractitionerRole/x") is TeamRole.ANAESTHESIA
    assert schedule.offers(CODE, TeamRole.ANAESTHESIA)


def test_an_operators_skill_is_never_assumed() -> None:
    silent = ScheduleFacts("s", ("PractitionerRole/x",))
    assert not silent.offers(CODE, TeamRole.OPERATOR)
    assert silent.offers(CODE, TeamRole.SUITE)

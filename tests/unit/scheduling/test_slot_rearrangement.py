"""How Slots are cut by a booking: free Slots never show time that is taken, and no time is lost."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kanwa_scheduling.domain.booking import (
    SlotChange,
    SlotPart,
    blocking_slots,
    exclusive_actors,
    holds_actors,
    rearrange,
)
from kanwa_scheduling.domain.calendars import SlotWindow
from kanwa_scheduling.domain.interval import Interval

DAY = datetime(2026, 3, 2, tzinfo=UTC)


def hours(start: float, end: float) -> Interval:
    return Interval(DAY + timedelta(hours=start), DAY + timedelta(hours=end))


def free(id: str, start: float, end: float) -> SlotWindow:
    return SlotWindow(id, "suite", "free", hours(start, end))


def applied(windows: list[SlotWindow], changes: list[SlotChange]) -> list[SlotWindow]:
    left = {window.id: window for window in windows}
    for change in changes:
        before = left[change.slot_id]
        left[change.slot_id] = _window(change.slot_id, before.schedule_id, change.becomes)
        for number, part in enumerate(change.added):
            id = f"{change.slot_id}.{number}"
            left[id] = _window(id, before.schedule_id, part)
    return list(left.values())


def _window(id: str, schedule: str, part: SlotPart) -> SlotWindow:
    return SlotWindow(id, schedule, part.status, part.interval, part.booked_for)


def test_a_booking_in_the_middle_keeps_the_slots_id_and_leaves_two_free_slots() -> None:
    (change,) = rearrange([free("morning", 8, 12)], "a", hours(9, 10))
    assert change == SlotChange(
        "morning",
        SlotPart(hours(9, 10), "busy", "a"),
        (SlotPart(hours(8, 9), "free", None), SlotPart(hours(10, 12), "free", None)),
    )


def test_a_booking_of_a_whole_slot_adds_none() -> None:
    (change,) = rearrange([free("s", 9, 10)], "a", hours(9, 10), "busy-tentative")
    assert change == SlotChange("s", SlotPart(hours(9, 10), "busy-tentative", "a"))


def test_a_hold_that_is_booked_turns_tentative_slots_busy_and_cuts_nothing() -> None:
    held = SlotWindow("s", "suite", "busy-tentative", hours(9, 10), "a")
    assert rearrange([held], "a", hours(9, 10), "busy") == [
        SlotChange("s", SlotPart(hours(9, 10), "busy", "a"))
    ]


def test_a_booking_that_is_repeated_changes_nothing() -> None:
    booked = SlotWindow("s", "suite", "busy", hours(9, 10), "a")
    assert rearrange([booked, free("t", 10, 12)], "a", hours(9, 10), "busy") == []


def test_a_release_frees_the_slots_of_that_appointment_only() -> None:
    windows = [
        SlotWindow("s", "suite", "busy", hours(9, 10), "a"),
        SlotWindow("t", "suite", "busy", hours(10, 11), "b"),
        SlotWindow("u", "suite", "busy-unavailable", hours(11, 12), None),
    ]
    assert rearrange(windows, "a", None) == [SlotChange("s", SlotPart(hours(9, 10), "free", None))]


def test_an_early_end_gives_the_rest_of_the_slot_back() -> None:
    booked = SlotWindow("s", "suite", "busy", hours(9, 11), "a")
    assert rearrange([booked], "a", hours(9, 10), "busy") == [
        SlotChange("s", SlotPart(hours(9, 10), "busy", "a"), (SlotPart(hours(10, 11), "free", None),))
    ]


half_hours = st.integers(0, 20).map(lambda n: n / 2)


@st.composite
def calendars(draw: st.DrawFn) -> list[SlotWindow]:
    """Slots of one Schedule that lie apart, some kept by this appointment, some by others."""
    edges = sorted(draw(st.sets(half_hours, min_size=2, max_size=12)))
    windows: list[SlotWindow] = []
    for number, (start, end) in enumerate(pairwise(edges)):
        kind = draw(st.sampled_from(["free", "mine", "theirs", "closed", "gap"]))
        if kind == "gap":
            continue
        status = {"free": "free", "mine": "busy", "theirs": "busy", "closed": "busy-unavailable"}[kind]
        keeper = {"mine": "a", "theirs": "b"}.get(kind)
        windows.append(SlotWindow(f"s{number:02}", "suite", status, hours(start, end), keeper))
    return windows


@given(calendars(), st.tuples(half_hours, half_hours))
def test_free_slots_show_no_taken_time_and_no_time_is_lost(
    windows: list[SlotWindow], wanted: tuple[float, float]
) -> None:
    taking = hours(*sorted(wanted)) if wanted[0] != wanted[1] else None
    after = applied(windows, rearrange(windows, "a", taking))
    assert not [w for w in after if w.status == "free" and taking and w.interval.overlaps(taking)]
    assert not [w for w in after if w.booked_for == "a" and (taking is None or not taking.covers(w.interval))]
    assert _time(after) == _time(windows)
    assert [w for w in windows if w.booked_for == "b" or w.status == "busy-unavailable"] == [
        w for w in after if w.booked_for == "b" or w.status == "busy-unavailable"
    ]
    assert rearrange(after, "a", taking) == []


@given(calendars(), st.tuples(half_hours, half_hours))
def test_a_release_undoes_a_booking(windows: list[SlotWindow], wanted: tuple[float, float]) -> None:
    windows = [w for w in windows if w.booked_for != "a"]
    taking = hours(*sorted(wanted)) if wanted[0] != wanted[1] else None
    booked = applied(windows, rearrange(windows, "a", taking))
    released = applied(booked, rearrange(booked, "a", None))
    assert _time([w for w in released if w.status == "free"]) == _time(
        [w for w in windows if w.status == "free"]
    )


def _time(windows: list[SlotWindow]) -> set[datetime]:
    """The half hours that the windows span; each must be spanned once."""
    spanned = [
        window.interval.start + timedelta(minutes=30 * n)
        for window in windows
        for n in range(int((window.interval.end - window.interval.start) / timedelta(minutes=30)))
    ]
    assert len(spanned) == len(set(spanned))
    return set(spanned)


def test_a_slot_that_is_not_free_blocks_unless_it_is_kept_for_the_same_appointment() -> None:
    windows = [
        SlotWindow("mine", "suite", "busy", hours(9, 10), "a"),
        SlotWindow("theirs", "suite", "busy-tentative", hours(9, 10), "b"),
        SlotWindow("closed", "suite", "busy-unavailable", hours(9.5, 12), None),
        SlotWindow("later", "suite", "busy", hours(10, 12), None),
        free("open", 9, 10),
    ]
    assert [w.id for w in blocking_slots(windows, hours(9, 10), "a")] == ["theirs", "closed"]


def test_only_people_rooms_and_devices_who_take_part_are_taken() -> None:
    appointment = {
        "participant": [
            {"actor": {"reference": "Patient/p"}, "status": "needs-action"},
            {"actor": {"reference": "Location/suite"}, "status": "accepted"},
            {"actor": {"reference": "PractitionerRole/o"}, "status": "accepted", "required": "required"},
            {
                "actor": {"reference": "Practitioner/observer"},
                "required": "information-only",
                "status": "accepted",
            },
            {"actor": {"reference": "Device/absent"}, "status": "declined"},
            {"actor": {"reference": "HealthcareService/ir"}, "status": "accepted"},
            {"actor": {"display": "somebody"}, "status": "accepted"},
            {"type": [{"text": "translator"}], "status": "needs-action"},
        ]
    }
    assert exclusive_actors(appointment) == ("Location/suite", "Patient/p", "PractitionerRole/o")


def test_a_booking_that_is_over_is_a_record_and_takes_nobody() -> None:
    assert holds_actors("booked", DAY + timedelta(hours=1), DAY)
    assert not holds_actors("booked", DAY, DAY)
    assert not holds_actors("booked", None, DAY)
    assert not holds_actors("proposed", DAY + timedelta(hours=1), DAY)

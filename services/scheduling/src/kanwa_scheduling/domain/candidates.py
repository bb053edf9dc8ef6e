"""Candidate times for a procedure: when a suite and a team are free together, best first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Final

from kanwa_scheduling.domain.calendars import CORE_TEAM, ActorCalendar, TeamRole
from kanwa_scheduling.domain.interval import Interval, difference, intersection, union

START_GRID: Final = timedelta(minutes=5)  # nobody plans a suite by the second
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is looked for: `duration` inside `period`, not before `now`, with one actor for each of `team`.

    `due` is when the procedure should have started; `home` are the referrer's Organizations, empty if
    unknown; `transfer_time` is what it takes to bring a patient from another hospital; `spacing` is the
    distance of the offered starts. `patient_busy` is the patient's own Appointments.
    """

    period: Interval
    duration: timedelta
    now: datetime
    due: datetime
    team: tuple[TeamRole, ...] = CORE_TEAM
    home: frozenset[str] = frozenset()
    transfer_time: timedelta = timedelta(hours=2)
    spacing: timedelta = timedelta(minutes=30)
    patient_busy: tuple[Interval, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """One feasible time: `actors` hold the suite first; `transfer` means the patient changes hospital."""

    interval: Interval
    actors: tuple[ActorCalendar, ...]
    transfer: bool
    late: bool
    rank: tuple[bool, datetime, int, str]

    @property
    def suite(self) -> ActorCalendar:
        """The room."""
        return self.actors[0]


def find_candidates(calendars: Sequence[ActorCalendar], wish: Wish) -> list[Candidate]:
    """Every offered start in every suite with its least loaded team, best first.

    Best: in time before late, then the earliest start, where a transfer counts as so much later as it takes,
    then the least loaded actors. Project choice.
    """
    by_role: dict[TeamRole, list[ActorCalendar]] = {role: [] for role in wish.team}
    for calendar in calendars:
        if calendar.role in by_role:
            by_role[calendar.role].append(calendar)
    found: list[Candidate] = []
    for suite in by_role.get(TeamRole.SUITE, ()):
        found.extend(_in_suite(suite, by_role, wish))
    return sorted(found, key=lambda candidate: candidate.rank)


def start_times(window: Interval, duration: timedelta, spacing: timedelta) -> Iterator[datetime]:
    """Starts offered in a free window: its beginning on the 5-minute grid, then multiples of `spacing`."""
    first = _ceiling(window.start, START_GRID)
    last = window.end - duration
    if first > last:
        return
    yield first
    following = _ceiling(first + START_GRID, spacing)
    while following <= last:
        yield following
        following += spacing


def _in_suite(
    suite: ActorCalendar, by_role: dict[TeamRole, list[ActorCalendar]], wish: Wish
) -> Iterator[Candidate]:
    transfer = bool(wish.home) and not (wish.home & suite.places)
    earliest = max(wish.period.start, wish.now + (wish.transfer_time if transfer else timedelta(0)))
    if earliest >= wish.period.end:
        return
    others = [
        [calendar for calendar in by_role[role] if calendar.works_at(suite)]
        for role in wish.team
        if role is not TeamRole.SUITE
    ]
    best: dict[datetime, tuple[ActorCalendar, ...]] = {}
    for team in product(*others):
        if len({actor.reference for actor in team}) < len(team):
            continue  # one person cannot fill two roles at once
        for window in _common([suite, *team], Interval(earliest, wish.period.end), wish.patient_busy):
            for start in start_times(window, wish.duration, wish.spacing):
                if start not in best or _load(team) < _load(best[start]):
                    best[start] = team
    for start, team in best.items():
        yield _candidate(start, (suite, *team), transfer, wish)


def _candidate(start: datetime, actors: tuple[ActorCalendar, ...], transfer: bool, wish: Wish) -> Candidate:
    late = start > wish.due
    felt_start = start + wish.transfer_time if transfer else start
    load = sum(actor.booked_minutes for actor in actors)
    return Candidate(
        interval=Interval(start, start + wish.duration),
        actors=actors,
        transfer=transfer,
        late=late,
        rank=(late, felt_start, load, actors[0].reference),
    )


def _common(
    actors: Sequence[ActorCalendar], period: Interval, patient_busy: Sequence[Interval]
) -> list[Interval]:
    common: list[Interval] = [period]
    for actor in actors:
        common = intersection(common, actor.free)
    return difference(common, union(patient_busy))


def _load(team: Sequence[ActorCalendar]) -> tuple[int, tuple[str, ...]]:
    return sum(actor.booked_minutes for actor in team), tuple(actor.reference for actor in team)


def _ceiling(instant: datetime, step: timedelta) -> datetime:
    return _EPOCH + -(-(instant - _EPOCH) // step) * step

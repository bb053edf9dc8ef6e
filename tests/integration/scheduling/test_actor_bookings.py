"""The exclusion constraint on a real PostgreSQL: nobody is in two Appointments at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kanwa_scheduling
from kanwa_scheduling.domain.interval import Interval
from kanwa_scheduling.store.bookings import (
    ACTOR_CONSTRAINT,
    REFERRAL_CONSTRAINT,
    active_appointment,
    bookings_of,
    claim_referrals,
    expired_holds,
    release_actors,
    take_actors,
)
from kanwa_shared.store.changes import ChangeSet
from kanwa_shared.store.commit import ConstraintBroken
from kanwa_shared.store.pool import open_pool
from kanwa_shared.store.resources import ResourceStore

NOW = datetime(2026, 3, 2, 8, tzinfo=UTC)
SUITE, OPERATOR, OTHER = "Location/suite", "PractitionerRole/operator", "PractitionerRole/other"


def hours(start: float, end: float) -> Interval:
    return Interval(NOW + timedelta(hours=start), NOW + timedelta(hours=end))


@pytest.fixture
async def store(database: Callable[..., str]) -> AsyncIterator[ResourceStore]:
    pool = open_pool(database(Path(kanwa_scheduling.__file__).parent / "migrations"), max_size=20)
    await pool.open()
    yield ResourceStore(pool)
    await pool.close()


async def take(
    store: ResourceStore,
    appointment: str,
    actors: list[str],
    interval: Interval,
    expires_at: datetime | None = None,
    referrals: tuple[str, ...] = (),
) -> None:
    changes = ChangeSet(NOW)
    take_actors(changes, appointment, actors, interval, expires_at)
    claim_referrals(changes, appointment, referrals)
    await store.commit(changes)


async def attempt(store: ResourceStore, appointment: str, actors: list[str], interval: Interval) -> str:
    try:
        await take(store, appointment, actors, interval)
    except ConstraintBroken as broken:
        return broken.constraint
    return "taken"


async def test_of_a_hundred_who_want_the_same_actors_one_gets_them(store: ResourceStore) -> None:
    actors = [SUITE, OPERATOR, "Patient/p"]
    outcomes = await asyncio.gather(*(attempt(store, f"a{n}", actors, hours(1, 2)) for n in range(100)))
    assert sorted(set(outcomes)) == [ACTOR_CONSTRAINT, "taken"]
    assert outcomes.count("taken") == 1
    bookings = await bookings_of(store.pool, actors, hours(0, 9), now=NOW)
    assert {booking.actor for booking in bookings} == set(actors)
    assert len({booking.appointment_id for booking in bookings}) == 1


async def test_rivals_that_share_only_one_of_several_actors_never_both_win(store: ResourceStore) -> None:
    people = [f"PractitionerRole/{n}" for n in range(10)]

    async def book(number: int) -> str:
        # A chain: each Appointment shares one person with the next, named in changing order.
        pair = [people[number % 10], people[(number + 1) % 10]]
        return await attempt(store, f"a{number}", pair if number % 2 else pair[::-1], hours(1, 2))

    await asyncio.gather(*(book(number) for number in range(60)))
    bookings = await bookings_of(store.pool, people, hours(0, 9), now=NOW)
    assert len(bookings) == len({booking.actor for booking in bookings})
    assert len(bookings) >= 2
    for booking in bookings:
        partners = [other for other in bookings if other.appointment_id == booking.appointment_id]
        assert len(partners) == 2, "a booking took one of its two actors only"


async def test_times_that_only_touch_do_not_collide(store: ResourceStore) -> None:
    await take(store, "a", [SUITE], hours(1, 2))
    await take(store, "b", [SUITE], hours(2, 3))
    await take(store, "c", [SUITE], hours(0, 1))


async def test_one_taken_actor_of_several_is_enough_to_refuse_all(store: ResourceStore) -> None:
    await take(store, "a", [OPERATOR], hours(1, 2))
    with pytest.raises(ConstraintBroken) as broken:
        await take(store, "b", [SUITE, OPERATOR, OTHER], hours(1.5, 3))
    assert broken.value.constraint == ACTOR_CONSTRAINT
    assert await bookings_of(store.pool, [SUITE, OTHER], hours(0, 9), now=NOW) == []


async def test_an_appointment_may_move_over_its_own_time(store: ResourceStore) -> None:
    await take(store, "a", [SUITE], hours(1, 2))
    await take(store, "a", [SUITE, OTHER], hours(1.5, 2.5))
    bookings = await bookings_of(store.pool, [SUITE, OTHER], hours(0, 9), now=NOW)
    assert [(b.actor, b.interval) for b in bookings] == [(SUITE, hours(1.5, 2.5)), (OTHER, hours(1.5, 2.5))]


async def test_released_actors_are_free_at_once(store: ResourceStore) -> None:
    await take(store, "a", [SUITE], hours(1, 2), referrals=("r",))
    changes = ChangeSet(NOW)
    release_actors(changes, "a")
    claim_referrals(changes, "a", ())
    await store.commit(changes)
    await take(store, "b", [SUITE], hours(1, 2), referrals=("r",))
    assert await active_appointment(store.pool, "r") == "b"


async def test_a_hold_that_ran_out_is_listed_and_not_seen_as_taken(store: ResourceStore) -> None:
    await take(store, "held", [SUITE], hours(1, 2), expires_at=NOW + timedelta(minutes=15))
    assert await expired_holds(store.pool, NOW + timedelta(minutes=14)) == []
    later = NOW + timedelta(minutes=15)
    assert await expired_holds(store.pool, later) == ["held"]
    assert await bookings_of(store.pool, [SUITE], hours(0, 9), now=later) == []
    assert len(await bookings_of(store.pool, [SUITE], hours(0, 9), now=NOW)) == 1


async def test_a_referral_has_one_active_appointment(store: ResourceStore) -> None:
    await take(store, "a", [SUITE], hours(1, 2), referrals=("r",))
    with pytest.raises(ConstraintBroken) as broken:
        await take(store, "b", [SUITE], hours(3, 4), referrals=("r",))
    assert broken.value.constraint == REFERRAL_CONSTRAINT
    await take(store, "a", [SUITE], hours(3, 4), referrals=("r",))
    assert await active_appointment(store.pool, "r") == "a"


slots = st.integers(0, 8)
attempts = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d", "e"]),
        st.sets(st.sampled_from([SUITE, OPERATOR, OTHER]), min_size=1),
        slots,
        slots,
    ).filter(lambda one: one[2] < one[3]),
    max_size=12,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(attempts)
async def test_the_database_agrees_with_a_list_of_bookings(
    store: ResourceStore, wanted: list[tuple[str, set[str], int, int]]
) -> None:
    for letter in "abcde":
        changes = ChangeSet(NOW)
        release_actors(changes, letter)
        await store.commit(changes)
    model: dict[str, tuple[set[str], Interval]] = {}
    for appointment, actors, start, end in wanted:
        interval = hours(start, end)
        free = not any(
            other != appointment and actors & theirs and interval.overlaps(taken)
            for other, (theirs, taken) in model.items()
        )
        outcome = await attempt(store, appointment, sorted(actors), interval)
        assert outcome == ("taken" if free else ACTOR_CONSTRAINT)
        if free:
            model[appointment] = (actors, interval)

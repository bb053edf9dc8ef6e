"""Who is taken when: the tables `actor`, `actor_booking` and `referral_booking`.

Reads go to the pool; writes are statements of a change set: they commit with the Appointment or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString

from psycopg.types.range import TimestamptzRange

from kanwa_scheduling.domain.interval import Interval
from kanwa_shared.store.changes import ChangeSet
from kanwa_shared.store.pool import Pool

ACTOR_CONSTRAINT: Final = "one_appointment_at_a_time"
REFERRAL_CONSTRAINT: Final = "one_active_appointment_per_referral"

# A hold that ran out takes nobody's time, although its row may still be there for some seconds.
_TAKEN: Final[LiteralString] = """
    SELECT a.reference, b.appointment_id, lower(b.during), upper(b.during)
    FROM actor_booking b JOIN actor a USING (actor_no)
    WHERE b.holding AND a.reference = ANY (%(actors)s) AND b.during && %(period)s
      AND (b.expires_at IS NULL OR b.expires_at > %(now)s) AND b.appointment_id <> %(except)s
    ORDER BY a.reference, b.during"""

_EXPIRED: Final[LiteralString] = """
    SELECT DISTINCT appointment_id FROM actor_booking
    WHERE holding AND expires_at <= %s ORDER BY appointment_id LIMIT 200"""

_ACTIVE_OF_REFERRAL: Final[LiteralString] = (
    "SELECT appointment_id FROM referral_booking WHERE service_request_id = %s"
)

_TAKE: Final[LiteralString] = "SELECT take_actors(%s, %s::text[], %s, %s)"
_RELEASE: Final[LiteralString] = "DELETE FROM actor_booking WHERE appointment_id = %s"
_CLAIM: Final[LiteralString] = """
    INSERT INTO referral_booking (service_request_id, appointment_id)
    SELECT s, %(appointment)s FROM unnest(%(referrals)s::text[]) AS s
    WHERE NOT EXISTS (SELECT 1 FROM referral_booking r
                      WHERE r.service_request_id = s AND r.appointment_id = %(appointment)s)
    ORDER BY s"""
_UNCLAIM: Final[LiteralString] = """
    DELETE FROM referral_booking WHERE appointment_id = %(appointment)s
      AND NOT service_request_id = ANY (%(referrals)s::text[])"""


@dataclass(frozen=True, slots=True)
class Booking:
    """One actor's time that an Appointment keeps."""

    actor: str
    appointment_id: str
    interval: Interval


async def bookings_of(
    pool: Pool, actors: Sequence[str], period: Interval, *, now: datetime, except_for: str = ""
) -> list[Booking]:
    """What these actors (references) have booked inside `period`, not counting one Appointment."""
    parameters = {"actors": list(actors), "period": _range(period), "now": now, "except": except_for}
    async with pool.connection() as connection:
        rows = await (await connection.execute(_TAKEN, parameters)).fetchall()
    return [Booking(row[0], row[1], Interval(row[2], row[3])) for row in rows]


async def expired_holds(pool: Pool, now: datetime) -> list[str]:
    """Ids of Appointments whose hold ran out and was not released yet."""
    async with pool.connection() as connection:
        rows = await (await connection.execute(_EXPIRED, (now,))).fetchall()
    return [row[0] for row in rows]


async def active_appointment(pool: Pool, service_request_id: str) -> str | None:
    """Id of the Appointment of a ServiceRequest that is under way, or None."""
    async with pool.connection() as connection:
        row = await (await connection.execute(_ACTIVE_OF_REFERRAL, (service_request_id,))).fetchone()
    return row[0] if row else None


def take_actors(
    changes: ChangeSet,
    appointment_id: str,
    actors: Sequence[str],
    interval: Interval,
    expires_at: datetime | None,
) -> None:
    """Give the Appointment these actors for this time instead of what it had.

    The commit fails with ConstraintBroken(ACTOR_CONSTRAINT) if one of them is taken.
    """
    changes.statement(_TAKE, (appointment_id, list(actors), _range(interval), expires_at))


def release_actors(changes: ChangeSet, appointment_id: str) -> None:
    """Let every actor of the Appointment go."""
    changes.statement(_RELEASE, (appointment_id,))


def claim_referrals(changes: ChangeSet, appointment_id: str, service_request_ids: Sequence[str]) -> None:
    """Make this the one active Appointment of these ServiceRequests and of no others; none means none.

    The commit fails with ConstraintBroken(REFERRAL_CONSTRAINT) if one of them has another.
    """
    parameters = {"appointment": appointment_id, "referrals": list(service_request_ids)}
    changes.statement(_UNCLAIM, parameters)
    if service_request_ids:
        changes.statement(_CLAIM, parameters)


def _range(interval: Interval) -> TimestamptzRange:
    return TimestamptzRange(interval.start, interval.end, "[)")

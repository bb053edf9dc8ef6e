"""Urgency classes and due times."""

from datetime import UTC, datetime, timedelta

import pytest

from kanwa_shared.clinical.urgency import UrgencyLimits, due_time, urgency_of

REFERRED = datetime(2026, 3, 1, 10, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("priority", "urgency", "limit"),
    [
        ("stat", "emergency", timedelta(hours=1)),
        ("asap", "urgent", timedelta(hours=24)),
        ("urgent", "semi-urgent", timedelta(hours=72)),
        ("routine", "elective", timedelta(days=14)),
        (None, "elective", timedelta(days=14)),
    ],
)
def test_a_priority_has_its_class_and_due_time(priority: str | None, urgency: str, limit: timedelta) -> None:
    assert urgency_of(priority) == urgency
    assert due_time(priority, REFERRED) == REFERRED + limit


def test_a_site_sets_its_own_limits() -> None:
    assert due_time("asap", REFERRED, UrgencyLimits(urgent_hours=6)) == REFERRED + timedelta(hours=6)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        due_time("stat", datetime(2026, 3, 1, 10, 5))  # noqa: DTZ001  # that it is naive is the point

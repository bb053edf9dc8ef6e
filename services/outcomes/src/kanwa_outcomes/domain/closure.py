"""When the loop of a procedure closes at the latest, whether or not anybody measured."""

from datetime import datetime, timedelta

from kanwa_outcomes.domain.performed import Performed
from kanwa_outcomes.domain.windows import window_of


def patience_until(known_since: datetime, patience: timedelta) -> datetime:
    """Until when a procedure that was recorded late is waited for, whenever it took place."""
    return known_since + patience


def closes_at(performed: Performed, known_since: datetime, patience: timedelta) -> datetime:
    """When the primary measure is overdue: its window has closed, and the procedure was known for `patience`.

    A procedure without a catalogue entry or without a time has nothing to wait for.
    """
    entry, ended = performed.entry, performed.ended
    if entry is None or ended is None:
        return known_since
    window = window_of(entry, entry.follow_up.primary_day, ended)
    return max(window.closes, patience_until(known_since, patience))

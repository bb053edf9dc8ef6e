"""From when to when a measurement counts for a planned day after a procedure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from kanwa_shared.clinical.catalogue import CatalogueEntry
from kanwa_shared.fhir.search.dates import later

#: JIVROSG-0202 judged the response at one week (doi 10.1093/annonc/mdp242).
RESPONSE_DAY: Final = 7


@dataclass(frozen=True, slots=True)
class Window:
    """`day` days after a procedure: due then, and counted from `opens` to `closes`, both included."""

    day: int
    opens: datetime
    due: datetime
    closes: datetime

    def holds(self, moment: datetime) -> bool:
        """Whether a measurement at `moment` counts."""
        return self.opens <= moment <= self.closes


def window_of(entry: CatalogueEntry, day: int, ended: datetime) -> Window:
    """The window of a planned day after a procedure that ended at `ended`.

    Project choice: half the time on either side, half a day for the day of the procedure itself; the primary
    day's window is the catalogue's.
    """
    first, last = (day / 2, day * 1.5) if day else (0.0, 0.5)
    if day == entry.follow_up.primary_day:
        first, last = entry.follow_up.primary_window
    return Window(
        day,
        later(ended, timedelta(days=first)),
        later(ended, timedelta(days=day)),
        later(ended, timedelta(days=last)),
    )


def response_day(entry: CatalogueEntry) -> int:
    """The day on which pain is judged: one week where the catalogue plans it, else the primary day."""
    return RESPONSE_DAY if RESPONSE_DAY in entry.follow_up_days else entry.follow_up.primary_day

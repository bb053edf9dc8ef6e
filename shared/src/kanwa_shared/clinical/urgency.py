"""Urgency classes: how soon palliative interventional radiology should start, by ServiceRequest.priority.

The classes (emergency under 1 h, urgent under 24 h, semi-urgent under 72 h, elective) and the elective limit
are a project choice: no validated urgency scale of interventional radiology was found. A site sets its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from kanwa_shared.fhir.search.dates import later


class UrgencyClass(StrEnum):
    """How urgent a referral is, most urgent first."""

    EMERGENCY = "emergency"
    URGENT = "urgent"
    SEMI_URGENT = "semi-urgent"
    ELECTIVE = "elective"


@dataclass(frozen=True, slots=True)
class UrgencyLimits:
    """How long after the referral the procedure should have started, in hours, by class."""

    emergency_hours: float = 1.0
    urgent_hours: float = 24.0
    semi_urgent_hours: float = 72.0
    elective_hours: float = 14 * 24.0

    def of(self, urgency: UrgencyClass) -> timedelta:
        """The limit of `urgency`."""
        hours = {
            UrgencyClass.EMERGENCY: self.emergency_hours,
            UrgencyClass.URGENT: self.urgent_hours,
            UrgencyClass.SEMI_URGENT: self.semi_urgent_hours,
            UrgencyClass.ELECTIVE: self.elective_hours,
        }
        return timedelta(hours=hours[urgency])


#: R4 request-priority to urgency class; `asap` outranks `urgent` in R4's own definitions.
CLASS_BY_PRIORITY: Final[Mapping[str, UrgencyClass]] = MappingProxyType(
    {
        "stat": UrgencyClass.EMERGENCY,
        "asap": UrgencyClass.URGENT,
        "urgent": UrgencyClass.SEMI_URGENT,
        "routine": UrgencyClass.ELECTIVE,
    }
)

DEFAULT_LIMITS: Final = UrgencyLimits()


def urgency_of(priority: str | None) -> UrgencyClass:
    """Urgency class of a ServiceRequest.priority; R4 reads an absent priority as routine."""
    return CLASS_BY_PRIORITY.get(priority or "routine", UrgencyClass.ELECTIVE)


def due_time(priority: str | None, referred: datetime, limits: UrgencyLimits = DEFAULT_LIMITS) -> datetime:
    """When the procedure should have started; `referred` is aware. Raises ValueError for a naive time."""
    if referred.tzinfo is None:
        raise ValueError("the time of the referral needs a time zone")
    return later(referred, limits.of(urgency_of(priority)))

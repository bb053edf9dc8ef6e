"""Settings of scheduling, beside those that every service has."""

from datetime import timedelta
from typing import cast

from kanwa_shared.clinical.urgency import UrgencyLimits
from kanwa_shared.rest.service import Context
from kanwa_shared.settings import BaseServiceSettings


class SchedulingSettings(BaseServiceSettings):
    """`KANWA_…` variables that scheduling alone reads."""

    hold_minutes: float = 15.0
    candidate_spacing_minutes: int = 30
    candidate_limit: int = 50
    #: How far `$find` looks when the client gives no end.
    find_days: int = 28
    #: What it takes to bring a patient from another hospital. Project choice.
    transfer_minutes: int = 120
    #: A referral or decision that was just made elsewhere may still be on its way here.
    replica_wait_seconds: float = 8.0
    emergency_hours: float = 1.0
    urgent_hours: float = 24.0
    semi_urgent_hours: float = 72.0
    elective_hours: float = 336.0

    @property
    def hold_time(self) -> timedelta:
        """How long a hold lasts."""
        return timedelta(minutes=self.hold_minutes)

    @property
    def urgency_limits(self) -> UrgencyLimits:
        """The urgency classes of this site."""
        return UrgencyLimits(
            self.emergency_hours, self.urgent_hours, self.semi_urgent_hours, self.elective_hours
        )


def scheduling_settings(context: Context) -> SchedulingSettings:
    """The settings of a rule's context."""
    return cast(SchedulingSettings, context.settings)

"""Settings of outcomes, beside those that every service has."""

from datetime import timedelta
from typing import cast

from pydantic import Field

from kanwa_shared.rest.service import Context
from kanwa_shared.settings import BaseServiceSettings


class OutcomesSettings(BaseServiceSettings):
    """`KANWA_…` variables that outcomes alone reads. Both are project choices."""

    #: A value before the procedure that is older than this is no baseline.
    baseline_days: float = Field(30.0, gt=0)
    #: How long a procedure that was recorded late is waited for before it closes without its primary measure.
    closing_patience_hours: float = Field(48.0, ge=0)

    @property
    def longest_baseline(self) -> timedelta:
        """The age up to which a value before the procedure is its baseline."""
        return timedelta(days=self.baseline_days)

    @property
    def closing_patience(self) -> timedelta:
        """The least time for which a completed procedure is waited for."""
        return timedelta(hours=self.closing_patience_hours)


def outcomes_settings(context: Context) -> OutcomesSettings:
    """The settings of a rule's context."""
    return cast(OutcomesSettings, context.settings)

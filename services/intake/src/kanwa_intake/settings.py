"""Settings of intake, beside those that every service has."""

from pathlib import Path
from typing import cast

from pydantic import Field, field_validator

from kanwa_shared.clinical.urgency import UrgencyLimits
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context
from kanwa_shared.security.outbound import TargetPolicy
from kanwa_shared.settings import BaseServiceSettings


class IntakeSettings(BaseServiceSettings):
    """`KANWA_…` variables that intake alone reads; hours are hours from the referral to the procedure's start.

    `subscription_networks` are space-separated networks that notifications may go to although they are not public,
    and by http; `subscription_hosts` are the only hosts, None for any.
    """

    referral_owner_reference: str = "HealthcareService/palliative-ir"
    mdt_owner_reference: str = "CareTeam/palliative-mdt"
    emergency_hours: float = 1.0
    urgent_hours: float = 24.0
    semi_urgent_hours: float = 72.0
    elective_hours: float = 336.0

    subscription_networks: str | None = None
    subscription_hosts: str | None = None
    subscription_ca_file: Path | None = None
    subscriptions_max: int = Field(500, ge=0)
    subscription_retry_seconds_max: float = Field(900.0, gt=0)
    subscription_give_up_hours: float = Field(168.0, gt=0)
    subscription_retention_days: float = Field(14.0, gt=0)

    @field_validator("subscription_networks")
    @classmethod
    def _are_networks(cls, text: str | None) -> str | None:
        TargetPolicy.of(text or "")
        return text

    @property
    def subscription_targets(self) -> TargetPolicy:
        """Where notifications may be sent."""
        return TargetPolicy.of(self.subscription_networks or "")

    @property
    def referral_owner(self) -> Tree:
        """Who performs a referral that names no performer."""
        return {"reference": self.referral_owner_reference, "display": "Palliative interventional radiology"}

    @property
    def mdt_owner(self) -> Tree:
        """Who decides."""
        return {"reference": self.mdt_owner_reference, "display": "Multidisciplinary team"}

    @property
    def urgency_limits(self) -> UrgencyLimits:
        """The urgency classes of this site."""
        return UrgencyLimits(
            self.emergency_hours, self.urgent_hours, self.semi_urgent_hours, self.elective_hours
        )


def intake_settings(context: Context) -> IntakeSettings:
    """The settings of a rule's context."""
    return cast(IntakeSettings, context.settings)

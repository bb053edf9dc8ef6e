"""Settings of the board, beside those that every service has."""

from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from kanwa_shared.settings import BaseServiceSettings


class MdtSettings(BaseServiceSettings):
    """`KANWA_…` variables that the board alone reads.

    `fhir_url` is the FHIR base that decisions are written to; without it, intake's own address. `time_zone` is
    the IANA zone of the clocks that the board shows.
    """

    fhir_url: str | None = None
    time_zone: str = "UTC"
    heartbeat_seconds: float = Field(15.0, gt=0)
    column_cards_max: int = Field(60, ge=1)
    ended_cards_max: int = Field(12, ge=1)
    #: Of what is older, the log keeps each resource's newest version.
    event_log_retention_days: float = Field(365.0, gt=0)

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"KANWA_TIME_ZONE={name} is no IANA time zone, such as Asia/Tokyo") from error
        return name

    @property
    def zone(self) -> ZoneInfo:
        """The zone of the clocks that the board shows."""
        return ZoneInfo(self.time_zone)

    @property
    def decisions_url(self) -> str:
        """The FHIR base that decisions are written to, without a slash at its end."""
        return (self.fhir_url or self.peer_intake_url).rstrip("/")

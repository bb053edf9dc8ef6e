"""Settings that every service has: `KANWA_…` environment variables, read once at start.

A secret may stand in a file instead (Docker and Kubernetes secrets): `KANWA_DATABASE_URL_FILE=/run/secrets/…`.
No secret has a default. Units are in the names.
"""

import os
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX: Final = "KANWA_"
_FILE_SUFFIX: Final = "_FILE"

AuthMode = Literal["jwt", "open"]


class BaseServiceSettings(BaseSettings):
    """What a service must know to start. Raises pydantic.ValidationError naming the variable that is wrong."""

    # A refused value may be a URL with a password in it, so errors do not show values.
    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    base_url: str = "http://127.0.0.1:8080/fhir"
    log_format: Literal["json", "console"] = "json"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    database_url: str = Field(repr=False)
    database_pool_max: int = Field(16, ge=2)
    redis_url: str | None = Field(None, repr=False)
    amqp_url: str | None = Field(None, repr=False)
    amqp_prefix: str = "kanwa"
    #: A broker that is silent for two of these is left; it wins over a `heartbeat` in the URL.
    amqp_heartbeat_seconds: int = Field(15, ge=1, le=600)

    peer_intake_url: str = "http://intake:8000/fhir"
    peer_scheduling_url: str = "http://scheduling:8000/fhir"
    peer_outcomes_url: str = "http://outcomes:8000/fhir"
    peer_timeout_seconds: float = 10.0
    #: With this, workers read each other's event logs (`GET /events`), and services ask each other (`/peers/…`).
    events_password: str | None = Field(None, repr=False, min_length=12)
    #: How often a worker compares what it received with what the sources' logs say.
    gap_check_seconds: float = Field(15.0, gt=0)

    auth_mode: AuthMode = "jwt"
    auth_issuer: str = "https://kanwa.example/auth"
    auth_audience: str = "https://kanwa.example/fhir"
    auth_jwks_file: Path | None = None
    auth_jwks_url: str | None = None
    #: Where callers get tokens, for /.well-known/smart-configuration; by default `token` under the issuer.
    auth_token_url: str | None = None
    auth_clock_skew_seconds: int = Field(30, ge=0, le=300)
    #: SMART Backend Services recommends tokens of at most five minutes.
    auth_token_lifetime_max_seconds: int = Field(300, ge=1)

    #: Space-separated networks whose hosts may read /metrics without a token.
    metrics_networks: str = "127.0.0.0/8 ::1/128 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7"

    max_body_bytes: int = Field(20 * 1024 * 1024, ge=1024)
    max_json_depth: int = Field(64, ge=8)
    max_bundle_entries: int = Field(5000, ge=1)
    page_size_default: int = Field(50, ge=1)
    page_size_max: int = Field(1000, ge=1)
    #: An export shows the moment it was asked for once writes of that moment have had so long to commit.
    export_settle_seconds: float = Field(5.0, ge=0)
    export_lifetime_hours: float = Field(24.0, gt=0)
    handover_wait_seconds: float = Field(2.0, ge=0)
    ready_timeout_seconds: float = 2.0
    outbox_age_degraded_seconds: float = 30.0
    outbox_retention_days: float = Field(30.0, gt=0)
    inbox_retention_days: float = Field(90.0, gt=0)

    def __init__(self, **given: Any):
        """Read the environment; `given` wins over it, as tests and the embedded run need."""
        values: dict[str, Any] = {**_from_files(os.environ), **given}
        super().__init__(**values)

    @field_validator("auth_jwks_url")
    @classmethod
    def _keys_come_unaltered(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "https:")
        if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
            return url
        raise ValueError("KANWA_AUTH_JWKS_URL must be https: whoever can alter the keys can be anybody")

    @field_validator("metrics_networks")
    @classmethod
    def _networks_are_written_as_such(cls, text: str) -> str:
        for network in text.split():
            ip_network(network)
        return text

    @classmethod
    def load(cls, **given: Any) -> Self:
        """The settings of the environment; the type checker takes the constructor for one that needs every field."""
        make: Any = cls
        return make(**given)

    @model_validator(mode="after")
    def _never_open_to_the_network(self) -> Self:
        if self.auth_mode == "open" and not is_loopback(self.host):
            raise ValueError(
                f"KANWA_AUTH_MODE=open needs a loopback KANWA_HOST, and it is {self.host}: "
                "set KANWA_AUTH_MODE=jwt with KANWA_AUTH_JWKS_FILE or KANWA_AUTH_JWKS_URL"
            )
        if self.auth_mode == "jwt" and self.auth_jwks_file is None and self.auth_jwks_url is None:
            raise ValueError(
                "KANWA_AUTH_MODE=jwt needs the callers' keys: KANWA_AUTH_JWKS_FILE or KANWA_AUTH_JWKS_URL"
            )
        return self

    @model_validator(mode="after")
    def _what_can_come_again_is_remembered(self) -> Self:
        if self.inbox_retention_days < self.outbox_retention_days:
            raise ValueError(
                "KANWA_INBOX_RETENTION_DAYS must not be less than KANWA_OUTBOX_RETENTION_DAYS: an event that can "
                "still be fetched would take effect a second time"
            )
        return self

    @property
    def required_amqp_url(self) -> str:
        """The broker's URL. Raises ValueError where there is none, as in the embedded run."""
        if self.amqp_url is None:
            raise ValueError("KANWA_AMQP_URL is not set; a worker needs RabbitMQ")
        return self.amqp_url


def is_loopback(host: str) -> bool:
    """Whether an address or host name can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _from_files(environment: Mapping[str, str]) -> dict[str, str]:
    """Values of the `KANWA_…_FILE` variables that name a secret; the JWKS file is a setting of its own."""
    named = {
        name.removeprefix(PREFIX).removesuffix(_FILE_SUFFIX).lower(): path
        for name, path in environment.items()
        if name.startswith(PREFIX) and name.endswith(_FILE_SUFFIX) and name != "KANWA_AUTH_JWKS_FILE"
    }
    return {
        setting: secret_in(path, f"{PREFIX}{setting.upper()}{_FILE_SUFFIX}")
        for setting, path in named.items()
    }


def secret_in(path: str, variable: str) -> str:
    """The text of the file that `variable` names. Ends the program with one line if there is none."""
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"kanwa: {variable}={path} cannot be read: {type(error).__name__}") from error

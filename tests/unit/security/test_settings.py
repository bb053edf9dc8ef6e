"""A service does not start with settings that would open it."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from kanwa_shared.settings import BaseServiceSettings, is_loopback

SECRET = "postgresql://kanwa:hush-hush@db/kanwa"


def settings(**given: Any) -> BaseServiceSettings:
    return BaseServiceSettings(**{"database_url": SECRET, "auth_mode": "open", **given})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "kanwa.example", ""])  # noqa: S104  # refused
def test_a_service_without_authentication_refuses_every_address_but_loopback(host: str) -> None:
    with pytest.raises(ValidationError, match="KANWA_AUTH_MODE=open needs a loopback KANWA_HOST"):
        settings(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_may_be_open(host: str) -> None:
    assert is_loopback(host)
    assert settings(host=host).auth_mode == "open"


def test_authentication_is_on_unless_somebody_turns_it_off_and_needs_keys() -> None:
    with pytest.raises(ValidationError, match="KANWA_AUTH_JWKS_FILE or KANWA_AUTH_JWKS_URL"):
        BaseServiceSettings(database_url=SECRET)


@pytest.mark.parametrize(
    "url", ["http://hospital.example/jwks", "ftp://hospital.example/jwks", "file:///etc/jwks"]
)
def test_keys_must_come_over_tls_or_from_this_machine(url: str) -> None:
    with pytest.raises(ValidationError, match="must be https"):
        settings(auth_jwks_url=url)
    for good in ("https://hospital.example/jwks", "http://127.0.0.1:9000/jwks"):
        assert settings(auth_jwks_url=good).auth_jwks_url == good


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError):
        settings(metrics_networks="10.0.0.0/8 everybody")


def test_neither_errors_nor_representations_show_a_password() -> None:
    with pytest.raises(ValidationError) as refused:
        settings(host="192.0.2.7", amqp_url="amqp://kanwa:hush-hush@rabbitmq/")
    given = settings(amqp_url="amqp://kanwa:hush-hush@rabbitmq/", redis_url="redis://:hush-hush@redis")
    assert "hush-hush" not in f"{refused.value}{given!r}{given}"


def test_settings_do_not_change_once_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        settings().host = "192.0.2.7"


def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{SECRET}\n")
    monkeypatch.setenv("KANWA_DATABASE_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("KANWA_AUTH_JWKS_FILE", str(tmp_path / "jwks.json"))
    read = BaseServiceSettings()
    assert read.database_url == SECRET
    assert read.auth_jwks_file == tmp_path / "jwks.json"


def test_a_secret_file_that_is_absent_ends_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KANWA_DATABASE_URL_FILE", str(tmp_path / "absent"))
    with pytest.raises(SystemExit, match="KANWA_DATABASE_URL_FILE"):
        BaseServiceSettings(auth_mode="open")

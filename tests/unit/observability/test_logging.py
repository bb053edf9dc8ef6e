"""Nothing that a patient's record says gets into a log line."""

import ast
import json
import logging
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from kanwa_shared.errors import Invalid, Issue
from kanwa_shared.logging import ALLOWED_KEYS, PROSE, configure_logging, log_context, log_request, redact
from tests.support.logs import logged

ROOT = Path(__file__).parents[3]
DEMOGRAPHICS = ("Yamada", "Hanako", "山田", "1948-03-02", "090-1234-5678", "hanako@example.org")
RECORD = "Yamada Hanako 山田 1948-03-02 090-1234-5678 hanako@example.org"


@pytest.fixture
def lines() -> Iterator[Any]:
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # as a server started before leaves it
    with logged() as entries:
        yield entries


def _assert_no_demographics(entries: list[dict[str, Any]]) -> None:
    text = json.dumps(entries, ensure_ascii=False)
    assert entries
    assert [word for word in DEMOGRAPHICS if word in text] == []


def test_ids_and_codes_are_logged_with_the_ids_of_the_context(lines: Any) -> None:
    with log_context(request_id="r-1", trace_id="0af7651916cd43dd8448eb211c80319c", event_id=None):
        structlog.get_logger().info("referral_accepted", resource_type="ServiceRequest", status=201)
    (entry,) = lines()
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {
        "event": "referral_accepted",
        "level": "info",
        "request_id": "r-1",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "resource_type": "ServiceRequest",
        "status": 201,
    }


def test_a_key_that_is_not_on_the_list_is_withheld_and_named(lines: Any) -> None:
    structlog.get_logger().info("referral_accepted", family="Yamada", birth_date="1948-03-02")
    _assert_no_demographics(lines())
    assert lines()[0]["withheld"] == ["birth_date", "family"]


@pytest.mark.parametrize(
    "value", [RECORD, ["Yamada"], {"family": "Yamada"}, RECORD.encode(), ValueError(RECORD)]
)
def test_a_value_that_is_no_code_is_withheld_even_under_an_allowed_key(lines: Any, value: object) -> None:
    structlog.get_logger().info("referral_accepted", reason=value)
    _assert_no_demographics(lines())
    assert lines()[0]["withheld"] == ["reason"]


def test_a_sentence_in_place_of_an_event_name_is_withheld(lines: Any) -> None:
    structlog.get_logger().info(f"accepted {RECORD}")
    _assert_no_demographics(lines())


def _refuse() -> None:
    raise Invalid([Issue("code-invalid", f"{RECORD} is no status")])


def _fail() -> None:
    try:
        _refuse()
    except Invalid as refusal:
        raise ExceptionGroup(RECORD, [ValueError(RECORD)]) from refusal


def test_an_exception_leaves_its_class_place_and_codes_but_not_its_message(lines: Any) -> None:
    with pytest.raises(ExceptionGroup) as failed:
        _fail()
    structlog.get_logger().error("request_failed", exc_info=failed.value)
    logging.getLogger("asyncio").error("Task failed: %s", RECORD, exc_info=failed.value)
    _assert_no_demographics(lines())
    for entry in lines():
        assert "kanwa_shared.errors.Invalid code-invalid" in entry["exception"]
        assert "ValueError" in entry["exception"]
        assert "test_logging.py:" in entry["exception"]


def test_a_library_is_logged_by_its_place_and_a_trusted_one_with_its_message(lines: Any) -> None:
    logging.getLogger("some.library").warning("parsing %s failed", RECORD)
    logging.getLogger("some.library").warning(f"parsing {RECORD} failed")
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 12)
    _assert_no_demographics(lines())
    assert [entry.get("text") for entry in lines()] == [None, None, "Started server process [12]"]
    assert lines()[0]["logger"] == "some.library"


def test_urls_of_outgoing_and_incoming_requests_are_not_logged(lines: Any) -> None:
    logging.getLogger("httpx").info("HTTP Request: GET http://intake/fhir/Patient?name=Yamada")
    logging.getLogger("uvicorn.access").info('127.0.0.1 - "GET /fhir/Patient?name=Yamada HTTP/1.1" 200')
    assert lines() == []


def test_a_caller_with_a_name_instead_of_an_id_is_withheld(lines: Any) -> None:
    with log_context(request_id="r-1"):
        log_request(service="intake", status=200, caller="Yamada Hanako")
        log_request(service="intake", status=200, caller="ehr-north")
    _assert_no_demographics(lines())
    assert [entry["caller"] for entry in lines()] == ["withheld", "ehr-north"]
    assert lines()[1].items() >= {"event": "request", "level": "info", "request_id": "r-1"}.items()


def test_the_console_form_is_redacted_too(lines: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stream = StringIO()
    configure_logging("console", "info", stream)
    structlog.get_logger().info("referral_accepted", resource_id="17", family="Yamada")
    assert "resource_id=17" in stream.getvalue()
    assert "Yamada" not in stream.getvalue()


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.binary()), st.text())
def test_no_text_with_a_space_or_a_letter_outside_ascii_survives(entry: dict[str, Any], event: str) -> None:
    kept = redact(None, "info", {"event": event, **{k: v for k, v in entry.items() if k != "event"}})
    checked = {"_record", "_from_structlog", "exception", "text", "timestamp", "withheld"}
    for key, value in kept.items():
        if key not in checked and isinstance(value, str):
            assert value.isascii()
            assert " " not in value


def test_every_key_that_is_logged_gets_through() -> None:
    """A key that is on no list is withheld from operators on every line, whatever its value."""
    withheld: list[str] = []
    for source in sorted(
        path for folder in ("shared", "services", "deploy") for path in (ROOT / folder).rglob("src/**/*.py")
    ):
        for call in ast.walk(ast.parse(source.read_text())):
            match call:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="_log" | "log")),
                    args=[ast.Constant(value=str(event))],
                    keywords=keywords,
                ):
                    keys = [keyword.arg for keyword in keywords if keyword.arg not in {None, "exc_info"}]
                    withheld += [
                        f"{source.name}: {event} {key}"
                        for key in keys
                        if key not in ALLOWED_KEYS and (event, key) not in PROSE
                    ]
                case _:
                    pass
    assert withheld == []

"""Structured logs without patient data: only keys and values of known shape get through.

A log line is an event name in snake case with key=value pairs: `log.info("event_published", event_id=…)`.
Free text is not logged: messages of exceptions, of libraries and of callers may quote a patient's record.
What is not let through is named in `withheld`, so that a missing value is seen and not guessed at.
"""

import logging
import re
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Literal, TextIO, cast

import msgspec
import structlog
from structlog.contextvars import merge_contextvars
from structlog.typing import EventDict, WrappedLogger

from kanwa_shared.fault_text import fault_text

LogFormat = Literal["json", "console"]

#: Keys whose values are ids, codes, names of ours or numbers. Anything else is withheld.
ALLOWED_KEYS: Final = frozenset(
    {
        "attempts",
        "caller",
        "code",
        "consumer",
        "correlation_id",
        "count",
        "depth",
        "duration_ms",
        "error_class",
        "event_id",
        "events",
        "exchange",
        "host",
        "interaction",
        "kind",
        "level",
        "line",
        "lock",
        "logger",
        "method",
        "module",
        "name",
        "owner",
        "pid",
        "port",
        "process",
        "queue",
        "reason",
        "request_id",
        "resource_id",
        "resource_type",
        "retry_seconds",
        "route",
        "row",
        "sequence",
        "service",
        "settlement",
        "source",
        "span_id",
        "stage",
        "state",
        "status",
        "subscription",
        "subject",
        "trace_id",
        "traceparent",
        "url_host",
        "version",
        "waiting",
        "work",
    }
)
#: Prose of ours and of the broker client: connection faults, which hold no content of a message. Never the text of
#: a database's exception, which quotes rows.
PROSE: Final = frozenset(
    {
        ("broker_unavailable", "reason"),
        ("consumer_without_broker", "reason"),
        ("redelivery_not_published", "reason"),
        ("source_log_not_compared", "reason"),
        ("refused_to_start", "reason"),
        ("keys_not_read", "reason"),
        ("notification_not_accepted", "reason"),
    }
)
#: Libraries whose messages speak of connections and processes alone.
TRUSTED_LOGGERS: Final = ("uvicorn.error", "psycopg.pool", "pika", "kanwa")
#: httpx logs whole URLs, and a search's URL holds what was searched for.
_QUIET_LOGGERS: Final = ("httpx", "httpcore", "uvicorn.access", "asyncio", "pika", "yoyo", "yoyo.migrations")

_EVENT: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_CODE: Final = re.compile(r"[A-Za-z0-9_.:/@%+$*{}\[\]-]{0,200}")
_LINE_BREAKS: Final = re.compile(r"[\x00-\x1f\x7f]+")
_PROSE_LENGTH: Final = 300


def configure_logging(log_format: LogFormat, level: str, stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's records through the same processors to `stream` (stderr).

    `level` is debug, info, warning or error. Calling it again replaces what the call before set up.
    """
    output = stream or sys.stderr
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared = _shared_processors()
    _configure_structlog(log_format, threshold, output, final=stream is None)
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_take_foreign, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(log_format, output),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        configured = logging.getLogger(name)
        configured.handlers.clear()
        if name not in _QUIET_LOGGERS:
            configured.setLevel(logging.NOTSET)
        configured.propagate = name != "uvicorn.access"


def configure_if_nobody_has() -> None:
    """Redact also where a program forgot to set logging up: structlog's own default shows local variables."""
    if not structlog.is_configured():
        _configure_structlog("console", logging.INFO, cast(TextIO, _StandardError()), final=False)


def _configure_structlog(log_format: LogFormat, threshold: int, output: TextIO, *, final: bool) -> None:
    _requests.write = _request_writer(log_format, threshold, output)
    structlog.configure(
        processors=[*_shared_processors(), *_renderers(log_format, output)],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=final,
    )


class _StandardError:
    """Whatever stderr is when a line is written; tests exchange it."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


class _Requests:
    """How the line of a request is written; None before anything is set up."""

    write: Callable[[dict[str, Any]], None] | None = None


_requests: Final = _Requests()


def log_request(*, caller: str | None, **values: str | float) -> None:
    """The one line of a request, with the ids of its context.

    It is written for every request, so it takes a short way: `values` must be codes, numbers and templates of
    ours, and are not looked at again. `caller` comes from a token and is withheld if it is no code.
    """
    if _requests.write is not None:
        _requests.write({**values, "caller": caller if _is_code(caller) else "withheld"})


def _request_writer(
    log_format: LogFormat, threshold: int, output: TextIO
) -> Callable[[dict[str, Any]], None] | None:
    if threshold > logging.INFO:
        return None
    if log_format == "console":
        return lambda values: structlog.get_logger().info("request", **values)

    def write(values: dict[str, Any]) -> None:
        line = {"event": "request", "level": "info", **_ids.get(), **values, "timestamp": datetime.now(UTC)}
        output.write(msgspec.json.encode(line).decode() + "\n")
        output.flush()

    return write


#: The ids of the request or event at hand. One variable: structlog's own has one per key, at many times the cost.
_ids: Final[ContextVar[Mapping[str, str]]] = ContextVar("kanwa_log_ids", default=MappingProxyType({}))


@contextmanager
def log_context(**values: str | None) -> Generator[None]:
    """Add ids (`request_id`, `trace_id`, `event_id`, `correlation_id`) to every line of the block."""
    token = add_log_ids(**values)
    try:
        yield
    finally:
        remove_log_ids(token)


def add_log_ids(**values: str | None) -> Token[Mapping[str, str]]:
    """The same without a block; give the token to `remove_log_ids` in the same task."""
    return _ids.set({**_ids.get(), **{key: value for key, value in values.items() if value is not None}})


def remove_log_ids(token: Token[Mapping[str, str]]) -> None:
    """Go back to the ids as they were."""
    _ids.reset(token)


def _merge_ids(_: WrappedLogger | None, __: str, entry: EventDict) -> EventDict:
    return {**_ids.get(), **entry}


def redact(_: WrappedLogger | None, __: str, entry: EventDict) -> EventDict:
    """Let through what is known to be harmless; the rest is dropped and its keys are listed in `withheld`."""
    event = entry.pop("event", None)
    named = isinstance(event, str) and _EVENT.fullmatch(event) is not None
    kept: EventDict = {"event": event if named else "unnamed_event"}
    withheld: list[str] = [] if named else ["event"]
    for key, value in entry.items():
        if (key in ALLOWED_KEYS and _is_code(value)) or key in _CHECKED:
            kept[key] = value
        elif (event, key) in PROSE and isinstance(value, str):
            kept[key] = _one_line(value)
        else:
            withheld.append(key if _EVENT.fullmatch(key) else "?")
    if withheld:
        kept["withheld"] = sorted(withheld)
    return kept


# Put there by structlog itself or, after a check of its own, by a processor of this module.
_CHECKED: Final = frozenset({"_record", "_from_structlog", "exception", "text", "timestamp"})
_SCALARS: Final = frozenset({int, float, bool, type(None)})


def _is_code(value: object) -> bool:
    if type(value) is str:
        return _CODE.fullmatch(value) is not None
    return type(value) in _SCALARS


def _one_line(value: str) -> str:
    return _LINE_BREAKS.sub(" ", value)[:_PROSE_LENGTH]


def _take_foreign(_: WrappedLogger | None, __: str, entry: EventDict) -> EventDict:
    """A record of a library: its message where the library is trusted, else only where it comes from."""
    record: logging.LogRecord = entry["_record"]
    trusted = any(record.name == name or record.name.startswith(f"{name}.") for name in TRUSTED_LOGGERS)
    text = str(entry.get("event")) if trusted and not record.exc_info else None
    entry.update(event="library_message", logger=record.name, module=record.module, line=record.lineno)
    if text is not None:
        entry["text"] = _one_line(text)
    if record.exc_info:
        entry["exc_info"] = record.exc_info
    return entry


def _write_fault(_: WrappedLogger, __: str, entry: EventDict) -> EventDict:
    """Replace `exc_info` by classes and places: an exception's message may quote a patient's record."""
    given: Any = entry.pop("exc_info", None)
    if not given:
        return entry
    error: Any = sys.exc_info()[1] if given is True else given[1] if type(given) is tuple else given  # pyright: ignore[reportUnknownVariableType]  # checked below
    if isinstance(error, BaseException):
        entry["exception"] = fault_text(error)
    return entry


def _shared_processors() -> list[Any]:
    return [
        merge_contextvars,
        _merge_ids,
        structlog.processors.add_log_level,
        _write_fault,
        redact,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _renderers(log_format: LogFormat, stream: TextIO) -> list[Any]:
    if log_format == "console":
        return [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    return [structlog.processors.JSONRenderer(_json)]


def _json(entry: Mapping[str, Any], **_: Any) -> str:
    return msgspec.json.encode(entry).decode()

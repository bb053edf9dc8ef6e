"""The HTTP side of FHIR: headers that FHIR gives a meaning. See https://hl7.org/fhir/R4/http.html."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache
from typing import Final, Literal

import msgspec

from kanwa_shared.errors import Invalid, NotSupported

FHIR_JSON: Final = "application/fhir+json"
NDJSON: Final = "application/fhir+ndjson"
FHIR_JSON_UTF8: Final = "application/fhir+json; charset=utf-8"
JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
_JSON_TYPES: Final = frozenset(
    {"application/fhir+json", "application/json", "text/json", "application/json+fhir"}
)
_PATCH_TYPES: Final = _JSON_TYPES | {JSON_PATCH, MERGE_PATCH}
_JSON_FORMATS: Final = _JSON_TYPES | {"json"}
_ACCEPTABLE: Final = _JSON_TYPES | {"*/*", "application/*", ""}
_R4: Final = frozenset({"4.0", "4.0.1"})
_ASK_FOR_JSON: Final = (
    f"ask for {FHIR_JSON}: kanwa keeps every digit of what it is sent, and has no XML that does (R4, 4.0)"
)
#: As RFC 9110 writes it; some clients send the bare version.
_ETAG: Final = re.compile(r'(?:W/)?"([^"\s]*)"|([0-9]+)')
_VERSION_DIGITS: Final = 10

ReturnPreference = Literal["representation", "minimal", "OperationOutcome"]


class NotAcceptable(NotSupported):
    """The client accepts only formats that kanwa does not write."""


class UnsupportedMediaType(NotSupported):
    """The body comes in a format that kanwa does not read."""


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the `Prefer` header asks for; unknown preferences are no error (RFC 7240)."""

    returns: ReturnPreference = "representation"
    lenient: bool = False


def preferences(header: str) -> Preferences:
    """Read a `Prefer` header such as `return=minimal, handling=lenient`."""
    wanted = {part.strip().partition("=")[::2] for part in re.split(r"[,;]", header)}
    returns: ReturnPreference = "representation"
    if ("return", "minimal") in wanted:
        returns = "minimal"
    elif ("return", "OperationOutcome") in wanted:
        returns = "OperationOutcome"
    return Preferences(returns, ("handling", "lenient") in wanted)


def check_acceptable(accept: str, format_parameter: str | None) -> None:
    """Raise NotAcceptable unless the client takes R4 in JSON; `_format` wins over `Accept`, as R4 says."""
    if format_parameter is not None:
        # A '+' in a query string that a client did not escape arrives as a space.
        media_type, *parameters = format_parameter.split(";")
        if media_type.strip().lower().replace(" ", "+") not in _JSON_FORMATS or not _is_r4(parameters):
            raise NotAcceptable(f"_format={format_parameter} is not served; {_ASK_FOR_JSON}")
        return
    if accept in _ACCEPTABLE:
        return
    for media_range in accept.split(","):
        media_type, *parameters = media_range.split(";")
        if media_type.strip().lower() in _ACCEPTABLE and _wanted(parameters) and _is_r4(parameters):
            return
    raise NotAcceptable(f"none of '{accept}' is served; {_ASK_FOR_JSON}")


def _wanted(parameters: list[str]) -> bool:
    """Whether the weight of a media range is above 0."""
    weights = [value for name, _, value in (one.partition("=") for one in parameters) if name.strip() == "q"]
    return not weights or weights[0].strip().strip("0.") != ""


def _is_r4(parameters: list[str]) -> bool:
    """Whether the MIME parameter `fhirVersion`, if it is there, names R4."""
    named = [
        value
        for name, _, value in (one.partition("=") for one in parameters)
        if name.strip() == "fhirVersion"
    ]
    return all(value.strip().strip('"') in _R4 for value in named)


def check_content_type(content_type: str) -> None:
    """Raise UnsupportedMediaType unless the body is JSON in UTF-8."""
    if _media_type_in_utf8(content_type) not in _JSON_TYPES:
        raise UnsupportedMediaType(f"Content-Type '{content_type}' is not read; send {FHIR_JSON} in UTF-8")


def patch_media_type(content_type: str) -> str:
    """The media type of a PATCH body. Raises UnsupportedMediaType for one that is no patch."""
    media_type = _media_type_in_utf8(content_type)
    if media_type not in _PATCH_TYPES:
        raise UnsupportedMediaType(
            f"Content-Type '{content_type}' is no patch; send {JSON_PATCH}, {FHIR_JSON} or {MERGE_PATCH} in UTF-8"
        )
    return media_type


def _media_type_in_utf8(content_type: str) -> str:
    """The media type without parameters, empty if the charset or the version of FHIR is another."""
    media, _, parameters = content_type.partition(";")
    if parameters and not _is_r4(parameters.split(";")):
        return ""
    charset = re.search(r"""charset\s*=\s*["']?([^\s;"']+)""", parameters, re.IGNORECASE)
    return "" if charset and charset[1].lower() not in {"utf-8", "utf8"} else media.strip().lower()


def indented(body: bytes) -> bytes:
    """JSON text for people to read; every literal stays as it is."""
    return msgspec.json.format(body, indent=2)


def etag(version: int) -> str:
    """The weak ETag of a version: `W/"3"`."""
    return f'W/"{version}"'


@dataclass(frozen=True, slots=True)
class Precondition:
    """What `If-Match` and `If-None-Match` ask of the resource that a write finds.

    `versions` are those that it may have, None for any; `exists` and `absent` stand for `*` in either header.
    """

    versions: frozenset[int] | None = None
    exists: bool = False
    absent: bool = False


UNCONDITIONAL: Final = Precondition()


def precondition(if_match: str | None, if_none_match: str | None = None) -> Precondition:
    """Read `If-Match` (one or several ETags, weak or strong, bare version numbers too) and `If-None-Match: *`.

    An ETag that kanwa never gave names no version, so it fits none. Raises Invalid for what is no ETag.
    """
    if if_match is None and if_none_match is None:
        return UNCONDITIONAL
    absent = (if_none_match or "").strip() == "*"
    if if_match is None:
        return Precondition(absent=absent)
    tags = [part.strip() for part in if_match.split(",") if part.strip()]
    if tags == ["*"]:
        return Precondition(exists=True, absent=absent)
    found = [_ETAG.fullmatch(tag) for tag in tags]
    if not tags or None in found:
        raise Invalid(
            f'If-Match: {if_match} is no ETag; send one as kanwa gave it, such as W/"3"', code="value"
        )
    versions = frozenset(int(tag[1] or tag[2]) for tag in found if tag is not None and _is_version(tag))
    return Precondition(versions, absent=absent)


def _is_version(tag: re.Match[str]) -> bool:
    text = tag[1] or tag[2] or ""
    return text.isascii() and text.isdigit() and len(text) < _VERSION_DIGITS


def not_modified(headers: Mapping[str, str], version: int, last_updated: datetime) -> bool:
    """Whether `If-None-Match` (ETags, or a bare version as some clients send) or `If-Modified-Since` says so."""
    if_none_match = headers.get("if-none-match")
    if if_none_match is not None:
        given = [part.strip() for part in if_none_match.split(",")]
        found = [_ETAG.fullmatch(part) for part in given]
        return given == ["*"] or any(tag is not None and (tag[1] or tag[2]) == str(version) for tag in found)
    since = headers.get("if-modified-since")
    if since is None:
        return False
    try:
        limit = parsedate_to_datetime(since)
    except (OverflowError, ValueError):
        return False  # RFC 9110: a recipient ignores an invalid date here
    return last_updated.replace(microsecond=0) <= (limit if limit.tzinfo else limit.replace(tzinfo=UTC))


def last_modified(moment: datetime) -> str:
    """An HTTP date: `Wed, 25 Nov 2026 00:10:00 GMT`."""
    return _http_date(moment.replace(microsecond=0))


@lru_cache(maxsize=256)  # all answers of one second share it
def _http_date(second: datetime) -> str:
    return format_datetime(second.astimezone(UTC), usegmt=True)

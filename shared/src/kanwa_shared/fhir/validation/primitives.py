"""The exact formats of R4's primitive types (https://hl7.org/fhir/R4/datatypes.html#primitive).

Each type has a fast test; a value that fails it is described for the client by `expectation`.
"""

import re
from calendar import monthrange
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

Test = Callable[[Any], bool]

MAX_STRING_CHARACTERS: Final = 1024 * 1024  # R4: strings SHALL NOT exceed 1 MB
MAX_INTEGER: Final = 2**31 - 1
# Project choice. R4 sets no upper limit ("the limits documented in XML Schema apply": at least 18 digits), but a
# figure of more digits than the decimal arithmetic of .NET (28) and Python's default context (28) holds would be
# rounded by its reader without a word. HL7's own decimal examples have 19 digits and exponents up to 245.
MAX_DECIMAL_EXPONENT: Final = 1000
MAX_DECIMAL_DIGITS: Final = 28

_YEAR = r"(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_MONTH_DAY = r"(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"

PATTERNS: Final[dict[str, str]] = {
    "date": rf"{_YEAR}(?:-(?:0[1-9]|1[0-2])|-{_MONTH_DAY})?",
    "dateTime": rf"{_YEAR}(?:-(?:0[1-9]|1[0-2])|-{_MONTH_DAY}(?:T{_TIME}{_ZONE})?)?",
    "instant": rf"{_YEAR}-{_MONTH_DAY}T{_TIME}{_ZONE}",
    "time": _TIME,
    "id": r"[A-Za-z0-9\-.]{1,64}",
    "code": r"[^\s]+(?:\s[^\s]+)*",
    "uri": r"\S+",
    "oid": r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+",
    "uuid": r"urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
}
"""Regular expressions that a whole value must match; some types ask for more than a pattern can say."""

_match_date: Final = re.compile(PATTERNS["date"]).fullmatch
_match_date_time: Final = re.compile(PATTERNS["dateTime"]).fullmatch
_match_instant: Final = re.compile(PATTERNS["instant"]).fullmatch
_match_time: Final = re.compile(PATTERNS["time"]).fullmatch
_match_id: Final = re.compile(PATTERNS["id"]).fullmatch
_match_code: Final = re.compile(PATTERNS["code"]).fullmatch
_match_uri: Final = re.compile(PATTERNS["uri"]).fullmatch
_match_oid: Final = re.compile(PATTERNS["oid"]).fullmatch
_match_uuid: Final = re.compile(PATTERNS["uuid"]).fullmatch
_match_base64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}").fullmatch
_search_control: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]").search


def _is_day_of_month(value: str) -> bool:
    """Whether the day that a full date names exists; `value` has the format already."""
    if len(value) < 10 or value[8] < "2" or value[8:10] < "29":
        return True
    return int(value[8:10]) <= monthrange(int(value[:4]), int(value[5:7]))[1]


def is_string(value: Any) -> bool:
    """Text of at least one character and at most 1 MB, without control characters but tab, CR and LF."""
    return (
        value.__class__ is str
        and value != ""
        and _search_control(value) is None
        and len(value) <= MAX_STRING_CHARACTERS
    )


def is_boolean(value: Any) -> bool:
    """JSON true or false."""
    return value is True or value is False


def is_integer(value: Any) -> bool:
    """A JSON integer of 32 bits."""
    return value.__class__ is int and -MAX_INTEGER - 1 <= value <= MAX_INTEGER


def is_unsigned_int(value: Any) -> bool:
    """A JSON integer from 0."""
    return value.__class__ is int and 0 <= value <= MAX_INTEGER


def is_positive_int(value: Any) -> bool:
    """A JSON integer from 1."""
    return value.__class__ is int and 0 < value <= MAX_INTEGER


_FIRST_TOO_LONG: Final = 10**MAX_DECIMAL_DIGITS


def is_decimal(value: Any) -> bool:
    """A JSON number whose digits and exponent stay within what consumers can compute with."""
    if value.__class__ is int:
        return abs(value) < _FIRST_TOO_LONG
    if not isinstance(value, Decimal):
        return value.__class__ is float
    if not value.is_finite():
        return False
    return (
        len(value.as_tuple().digits) <= MAX_DECIMAL_DIGITS and abs(value.adjusted()) <= MAX_DECIMAL_EXPONENT
    )


def is_date(value: Any) -> bool:
    """A year, a month or a day that exists."""
    return value.__class__ is str and _match_date(value) is not None and _is_day_of_month(value)


def is_date_time(value: Any) -> bool:
    """A date, or a date with time to the second and its offset."""
    return value.__class__ is str and _match_date_time(value) is not None and _is_day_of_month(value)


def is_instant(value: Any) -> bool:
    """A date with time to the second at least, and its offset."""
    return value.__class__ is str and _match_instant(value) is not None and _is_day_of_month(value)


def is_base64(value: Any) -> bool:
    """Base64 with padding; whitespace between the characters is allowed."""
    if value.__class__ is not str:
        return False
    characters = "".join(value.split())
    return len(characters) % 4 == 0 and _match_base64(characters) is not None


def _matching(match: Callable[[str], Any]) -> Test:
    def test(value: Any) -> bool:
        return value.__class__ is str and match(value) is not None

    return test


TESTS: Final[dict[str, Test]] = {
    "base64Binary": is_base64,
    "boolean": is_boolean,
    "canonical": _matching(_match_uri),
    "code": _matching(_match_code),
    "date": is_date,
    "dateTime": is_date_time,
    "decimal": is_decimal,
    "id": _matching(_match_id),
    "instant": is_instant,
    "integer": is_integer,
    "markdown": is_string,
    "oid": _matching(_match_oid),
    "positiveInt": is_positive_int,
    "string": is_string,
    "time": _matching(_match_time),
    "unsignedInt": is_unsigned_int,
    "uri": _matching(_match_uri),
    "url": _matching(_match_uri),
    "uuid": _matching(_match_uuid),
    "xhtml": is_string,
}

_EXPECTATIONS: Final[dict[str, str]] = {
    "base64Binary": "a base64 string with its padding",
    "boolean": "true or false, without quotes",
    "canonical": "a string holding an absolute URI, optionally |version, without whitespace",
    "code": "a string without leading, trailing or double whitespace",
    "date": "a string YYYY, YYYY-MM or YYYY-MM-DD that exists in the calendar",
    "dateTime": "a string YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss with Z or an offset +hh:mm",
    "decimal": f"a JSON number of at most {MAX_DECIMAL_DIGITS} digits",
    "id": "a string of 1 to 64 characters out of A-Z, a-z, 0-9, '-' and '.'",
    "instant": "a string YYYY-MM-DDThh:mm:ss with Z or an offset +hh:mm",
    "integer": "a JSON integer of 32 bits, without quotes or fraction",
    "oid": "a string urn:oid: followed by the dotted numbers",
    "positiveInt": "a JSON integer from 1 to 2147483647",
    "time": "a string hh:mm:ss without an offset",
    "unsignedInt": "a JSON integer from 0 to 2147483647",
    "uri": "a string holding a URI, without whitespace",
    "url": "a string holding a URL, without whitespace",
    "uuid": "a string urn:uuid: followed by the UUID in lower case",
}
_ANY_STRING: Final = "a string that is not empty and has no control characters but tab, CR and LF"
_SHOWN_CHARACTERS: Final = 40


def expectation(type_name: str) -> str:
    """What a value of the primitive type looks like, to complete "expected …"."""
    return _EXPECTATIONS.get(type_name, _ANY_STRING)


def is_right_json_type(type_name: str, value: Any) -> bool:
    """Whether the kind of JSON value is right, so that only the format can be at fault."""
    if type_name == "boolean":
        return is_boolean(value)
    if type_name in ("decimal", "integer", "positiveInt", "unsignedInt"):
        return isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return isinstance(value, str)


def describe(value: Any) -> str:
    """What was found, without quoting text: a value may be patient data and diagnostics are logged."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str):
        return "an empty string" if not value else f"a string of {len(value)} characters"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    return "a number"

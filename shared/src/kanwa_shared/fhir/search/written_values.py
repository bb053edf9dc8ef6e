"""One value as a search writes it: the form of a token, or the test of a date or quantity.

https://hl7.org/fhir/R4/search.html#ptypes
"""

from datetime import datetime, tzinfo
from typing import Final

from kanwa_shared.errors import Invalid, NotSupported
from kanwa_shared.fhir.search.dates import range_of
from kanwa_shared.fhir.search.definitions import SearchParameter
from kanwa_shared.fhir.search.literals import split, split_prefix, unescaped
from kanwa_shared.fhir.search.numbers import number
from kanwa_shared.fhir.search.ranges import RangeTest, date_test, number_test
from kanwa_shared.fhir.search.references import reference_forms
from kanwa_shared.fhir.search.tokens import any_system, coded, contact_value, token

ANY_CODE: Final = ":present"
"""Form of `system|` where the system is that of the binding: every code is of it."""


def token_form(parameter: SearchParameter, text: str) -> str:
    """The form of one token value. A primitive code has the system of its binding."""
    parts = [unescaped(part) for part in split(text, "|")]
    if all(path.datatype == "ContactPoint" for path in parameter.paths):
        parts = [contact_value(part) for part in parts]
    if len(parts) == 1:
        return any_system(parts[0])
    system, code = parts[0], "|".join(parts[1:])
    if not parameter.primitive:
        return coded(system, code)
    if system == "" or system in parameter.systems:
        return any_system(code) if code else ANY_CODE
    return coded(system, code)


def identifier_form(text: str) -> str:
    """The form of an identifier value: `value`, `system|value`, `|value` or `system|`."""
    system, bar, value = (unescaped(part) for part in _bar(text))
    return coded(system, value) if bar else any_system(system)


def _bar(text: str) -> tuple[str, str, str]:
    parts = split(text, "|")
    return (parts[0], "", "") if len(parts) == 1 else (parts[0], "|", "|".join(parts[1:]))


def typed_identifier(parameter: SearchParameter, text: str) -> str:
    """The token of one `:of-type` value. Raises Invalid, NotSupported."""
    parts = [unescaped(part) for part in split(text, "|")]
    if not any(path.datatype == "Identifier" for path in parameter.paths):
        raise NotSupported(f"{parameter.code}:of-type: only identifiers have a type")
    if len(parts) != 3 or "" in parts:
        raise Invalid(f"{parameter.code}:of-type={text}: expected type-system|type-code|value")
    return token(parameter.resource_type, f"{parameter.code}:of-type", any_system("|".join(parts)))


def second_forms(parameter: SearchParameter, text: str) -> list[str]:
    """The forms of the second part of a composite that is kept as tokens."""
    if parameter.type == "reference":
        return list(reference_forms(parameter, "", unescaped(text)))
    return [token_form(parameter, text)]


def date_value_test(parameter: SearchParameter, text: str, *, now: datetime, zone: tzinfo) -> RangeTest:
    """The test of one date; `zone` is the time zone of one that has none. Raises Invalid."""
    prefix, literal = split_prefix(text)
    try:
        # A plus that was not percent-encoded in the URL arrives as a space.
        low, high = range_of(literal.replace(" ", "+"), zone)
    except ValueError:
        raise Invalid(
            f"{parameter.code}={text}: expected a date such as 2026, 2026-03, 2026-03-05 or "
            "2026-03-05T14:00:00+09:00, with or without one of the prefixes eq ne gt lt ge le sa eb ap"
        ) from None
    return date_test(prefix, low, high, now=now)


def quantity_test(parameter: SearchParameter, text: str) -> RangeTest:
    """The test of one number or quantity. Raises Invalid."""
    prefix, literal = split_prefix(text)
    parts = [unescaped(part) for part in split(literal, "|")]
    allowed = (1,) if parameter.type == "number" else (1, 3)
    try:
        amount = number(parts[0].strip())
    except ValueError:
        amount = None
    if amount is None or len(parts) not in allowed:
        form = "a number" if parameter.type == "number" else "number, number|system|code or number||code"
        raise Invalid(f"{parameter.code}={text}: expected {form}, with or without a prefix such as ge")
    if len(parts) == 1:
        return number_test(prefix, amount)
    system, code = parts[1] or None, parts[2] or None
    return number_test(prefix, amount, system=system, code=code, unit_too=system is None)

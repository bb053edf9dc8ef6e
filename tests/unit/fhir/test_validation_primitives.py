"""R4's primitive types accept their formats and nothing else."""

from decimal import Decimal
from typing import Any

import pytest

from kanwa_shared.fhir.json_text import JsonDecimal
from kanwa_shared.fhir.validation import primitives, validate

ACCEPTED: dict[str, list[Any]] = {
    "base64Binary": ["aGk=", "aGVs\n bG8h", "AAAA"],
    "boolean": [True, False],
    "canonical": ["http://hl7.org/fhir/ValueSet/x|0.8", "#inner"],
    "code": ["stat", "two words"],
    "date": ["2031", "2031-03", "2031-03-05", "2032-02-29", "0001-01-01"],
    "dateTime": ["2031", "2031-03", "2031-03-05", "2031-03-05T09:00:00Z", "2016-12-31T23:59:60+14:00"],
    "decimal": [1, -3, JsonDecimal("1.50"), JsonDecimal("-1.000000000000000000e245"), 10**28 - 1],
    "id": ["a", "A-1.b", "x" * 64],
    "instant": ["2031-03-05T09:00:00.123456789-09:30"],
    "integer": [0, -1, 2**31 - 1, -(2**31)],
    "markdown": ["# pain\n\n*relieved*"],
    "oid": ["urn:oid:1.2.840.0"],
    "positiveInt": [1, 2**31 - 1],
    "string": ["a", " ", "緩和\t\r\n"],
    "time": ["09:00:00", "23:59:59.5"],
    "unsignedInt": [0, 1],
    "uri": ["urn:x", "relative/path"],
    "url": ["https://kanwa.example/fhir"],
    "uuid": ["urn:uuid:87e11d66-c137-458a-9754-fe6c4e445a6d"],
}
REFUSED: dict[str, list[Any]] = {
    "base64Binary": ["aGk", "a=Gk", "(snip)", "", 1],
    "boolean": ["true", 0, 1, JsonDecimal("0.0"), ""],
    "canonical": ["", " ", "a b", 1],
    "code": ["", " stat", "stat ", "a  b", True],
    "date": [
        "2031-3",
        "2031-02-30",
        "2031-13",
        "2100-02-29",
        "31-03-05",
        "2031-03-05T09:00:00Z",
        "0000",
        2031,
    ],
    "dateTime": [
        "2031-03-05T09:00",
        "2031-03-05T09:00:00",
        "2031-03-05T24:00:00Z",
        "2031-04-31T09:00:00Z",
        1,
    ],
    "decimal": ["1.5", True, JsonDecimal("1e1001"), Decimal("NaN"), 10**28, JsonDecimal("0." + "1" * 29)],
    "id": ["", "x" * 65, "a_b", "a/b", 1, "a\n"],
    "instant": [
        "2031",
        "2031-03-05",
        "2031-02-29T09:00:00Z",
        "2031-03-05T09:00:00+15:00",
        JsonDecimal("1.0"),
    ],
    "integer": [2**31, -(2**31) - 1, "1", True, JsonDecimal("1.0")],
    "markdown": ["", 1],
    "oid": ["1.2.840", "urn:oid:3.1", "urn:oid:1.02"],
    "positiveInt": [0, -1, 2**31, "1"],
    "string": ["", "\x07", "\x1b[0m", "x" * (1024 * 1024 + 1), True],
    "time": ["9:00:00", "09:00", "24:00:00", "09:00:00Z", 9],
    "unsignedInt": [-1, "0", JsonDecimal("-0")],
    "uri": ["", "a b", "\n", 1],
    "url": [" ", True],
    "uuid": ["87e11d66-c137-458a-9754-fe6c4e445a6d", "urn:uuid:87E11D66-C137-458A-9754-FE6C4E445A6D", 17],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in ACCEPTED for value in ACCEPTED[name]])
def test_a_right_value_is_accepted(name: str, value: Any) -> None:
    assert primitives.TESTS[name](value)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in REFUSED for value in REFUSED[name]])
def test_a_wrong_value_is_refused(name: str, value: Any) -> None:
    assert not primitives.TESTS[name](value)


def test_every_primitive_type_is_tested() -> None:
    assert ACCEPTED.keys() == REFUSED.keys() == primitives.TESTS.keys() - {"xhtml"}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in ACCEPTED for value in ACCEPTED[name]])
def test_both_judges_accept_a_right_value_inside_a_resource(name: str, value: Any) -> None:
    key = "value" + name[0].upper() + name[1:]
    extension: dict[str, Any] = {"url": "https://kanwa.example/x", key: value}
    tree: dict[str, Any] = {"resourceType": "Patient", "extension": [extension]}
    if name == "canonical" and value.startswith("#"):
        tree["contained"] = [{"resourceType": "Patient", "id": value[1:]}]
    assert validate(tree) == []


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in REFUSED for value in REFUSED[name]])
def test_a_wrong_value_inside_a_resource_is_named(name: str, value: Any) -> None:
    key = "value" + name[0].upper() + name[1:]
    tree = {"resourceType": "Patient", "extension": [{"url": "https://kanwa.example/x", key: value}]}
    assert [issue.expression for issue in validate(tree)] == [("Patient.extension[0].value",)]

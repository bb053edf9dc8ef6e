"""FHIR JSON text is read and written without loss, and what cannot be read is refused with its place."""

import copy
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kanwa_shared.errors import Unparsable
from kanwa_shared.fhir import json_text
from kanwa_shared.fhir.json_text import JsonDecimal

MOMENT = datetime(2031, 3, 1, 0, 15, 30, 123000, tzinfo=UTC)

_digits = st.from_regex(r"\A-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?\Z")
_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
_scalars = st.one_of(
    st.none(), st.booleans(), _texts.map(json.dumps), _texts.map(lambda t: json.dumps(t, ensure_ascii=False))
)
_literals = st.one_of(_digits, _scalars.map(lambda each: each if isinstance(each, str) else json.dumps(each)))


def _object(members: dict[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in members.items()) + "}"


_documents = st.recursive(
    _literals,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: "[" + ",".join(items) + "]"),
        st.dictionaries(_texts, inner, max_size=4).map(_object),
    ),
    max_leaves=20,
)
_objects = st.dictionaries(_texts, _documents, max_size=5).map(_object)


def _canonical(text: bytes) -> Any:
    """The document with numbers as their literals, read by the standard library."""
    return json.loads(
        text, parse_float=lambda literal: ("number", literal), parse_int=lambda literal: ("number", literal)
    )


@settings(deadline=None)  # a busy machine is no fault
@given(_objects)
def test_every_number_and_text_survives_reading_and_writing(document: str) -> None:
    body = document.encode()
    assert _canonical(json_text.dumps(json_text.parse(body))) == _canonical(body)


@settings(deadline=None)  # a busy machine is no fault
@given(_objects, st.sampled_from(["\n", "\t", " ", ""]))
def test_white_space_between_tokens_changes_nothing(document: str, space: str) -> None:
    assert json_text.parse(f"{space}{document}{space}\n".encode()) == json_text.parse(document.encode())


@settings(deadline=None)  # a busy machine is no fault
@given(
    st.lists(st.sampled_from(["a", "b", "c", '\\"', "\\u0022"]), min_size=1, max_size=6), st.integers(0, 3)
)
def test_a_member_that_comes_twice_is_found_whatever_quotes_surround_it(
    names: list[str], escapes: int
) -> None:
    filler = "\\u0022" * escapes
    body = "{" + ",".join(f'"{name}":"{filler}"' for name in names) + "}"
    decoded = [json.loads(f'"{name}"') for name in names]
    if len(set(decoded)) == len(decoded):
        assert set(json_text.parse(body.encode())) == set(decoded)
    else:
        with pytest.raises(Unparsable, match="more than once"):
            json_text.parse(body.encode())


@pytest.mark.parametrize(
    "literal",
    ["1.50", "0.0", "-0.0", "1e2", "1.0E-22", "-0", "100000000000000000000.5", "0.1234567890123456789"],
)
def test_a_number_keeps_its_literal(literal: str) -> None:
    body = f'{{"value":{literal}}}'.encode()
    assert json_text.dumps(json_text.parse(body)) == body


def test_a_decimal_computes_as_a_decimal_and_keeps_its_literal_when_copied() -> None:
    value = json_text.parse(b'{"value":1.50}')["value"]
    assert value == Decimal("1.5")
    assert value + 1 == Decimal("2.5")
    assert copy.deepcopy({"value": value})["value"].literal == "1.50"


def test_a_decimal_made_by_a_rule_is_written_as_a_number() -> None:
    assert (
        json_text.dumps({"a": Decimal("1.50"), "b": JsonDecimal("2.0"), "c": 3})
        == b'{"a":1.50,"b":2.0,"c":3}'
    )


def test_text_outside_ascii_is_written_as_itself() -> None:
    assert json_text.dumps({"text": "緩和 😀"}) == '{"text":"緩和 😀"}'.encode()


def test_what_json_has_no_form_for_is_not_written() -> None:
    with pytest.raises(TypeError, match="object"):
        json_text.dumps({"a": object()})


REFUSED = {
    "a member twice": (
        b'{"resourceType":"Patient","name":[{"text":"a","text":"b"}]}',
        "Patient.name[0].text",
    ),
    "a member twice, hidden by escaped quotes": (b'{"a":1,"a":"\\u0022\\u0022"}', "$this.a"),
    "NUL": (b'{"resourceType":"Patient","id":"a\\u0000"}', "Patient.id"),
    "NUL in a name": (b'{"a\\u0000":1}', "$this"),
    "half a surrogate pair": (b'{"a":["\\ud83d"]}', "$this.a[0]"),
    "halves in the wrong order": (b'{"a":"\\ude00\\ud83d"}', "$this.a"),
    "NaN": (b'{"a":{"b":NaN}}', "$this.a.b"),
    "Infinity": (b'{"a":-Infinity}', "$this.a"),
    "an exponent out of range": (b'{"a":1e99999999999999999999}', "$this.a"),
    "too many digits": (b'{"a":' + b"1" * 5000 + b"}", "$this.a"),
    "content after the object": (b'{"a":1} {"b":2}', "line 1, column 9"),
    "a comment": (b'{\n  // why\n  "a":1}', "line 2, column 3"),
    "a trailing comma": (b'{"a":1,}', "line 1, column 8"),
    "a missing comma": (b'{"a":1\n"b":2}', "line 2, column 1"),
    "single quotes": (b"{'a':1}", "line 1, column 2"),
    "a leading zero": (b'{"a":01}', "line 1, column 7"),
    "a raw control character": (b'{"a":"\n"}', "line 1, column 7"),
    "an unknown escape": (b'{"a":"\\x"}', "line 1, column 7"),
    "an array": (b"[]", "an array"),
    "null": (b"null", "null"),
    "a string": (b'"Patient"', "a string"),
    "a number": (b"1.5", "a number"),
    "nothing": (b"", "line 1, column 1"),
    "latin-1": ('{"a":"ü"}'.encode("latin-1"), "byte 7"),
    "an encoded surrogate": (b'{"a":"\xed\xa0\x80"}', "byte 7"),
    "UTF-16": ('{"a":1}'.encode("utf-16"), "byte 1"),
}


@pytest.mark.parametrize(("body", "place"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_one_clean_json_object_is_refused_with_its_place(body: bytes, place: str) -> None:
    with pytest.raises(Unparsable) as refused:
        json_text.parse(body)
    assert any(place in issue.expression or place in issue.diagnostics for issue in refused.value.issues)


def test_all_faults_inside_a_document_are_named_at_once() -> None:
    with pytest.raises(Unparsable) as refused:
        json_text.parse(b'{"a":NaN,"b":1,"b":2,"c":[{"d":1,"d":1}]}')
    assert [issue.expression for issue in refused.value.issues] == [
        ("$this.a",),
        ("$this.b",),
        ("$this.c[0].d",),
    ]


def test_a_byte_order_mark_is_dropped() -> None:
    assert json_text.parse(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


def test_escapes_that_only_look_like_nul_or_surrogates_are_read() -> None:
    body = rb'{"a":"\\u0000","b":"\\ud83d","c":"\ud83d\ude00"}'
    assert json_text.parse(body) == {"a": "\\u0000", "b": "\\ud83d", "c": "😀"}


@pytest.mark.parametrize("depth", [64, 65, 200_000])
def test_more_than_64_levels_are_refused(depth: int) -> None:
    body = b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    if depth <= json_text.MAX_DEPTH:
        assert json_text.parse(body)
    else:
        with pytest.raises(Unparsable, match="64 levels"):
            json_text.parse(body)


def test_brackets_inside_text_are_no_levels() -> None:
    assert json_text.parse(b'{"a":"' + b"[" * 500 + b'\\"{"}')["a"].startswith("[[")


def _identified(body: bytes) -> bytes:
    return json_text.with_identity(body, resource_type="Patient", id="p1", version=3, last_updated=MOMENT)


def test_identity_replaces_only_id_version_and_time() -> None:
    body = (
        b'\xef\xbb\xbf{ "meta" : {"versionId":"9", "lastUpdated":"1999-01-01T00:00:00Z",'
        b' "profile" : [ "x" ]},\n'
        b'"id":"mine", "resourceType":"Patient", "multipleBirthInteger" : 1, "x":[ 1.50 , "\\u00e9" ] }'
    )
    assert _identified(body) == (
        b'{"resourceType":"Patient","id":"p1",'
        b'"meta":{"versionId":"3","lastUpdated":"2031-03-01T00:15:30.123Z","profile":[ "x" ]},'
        b'"multipleBirthInteger":1,"x":[ 1.50 , "\\u00e9" ]}'
    )


@settings(deadline=None)  # a busy machine is no fault
@given(_objects)
def test_identity_changes_no_other_member(document: str) -> None:
    before = _canonical(document.encode())
    if not isinstance(before.get("meta", {}), dict):
        return
    after = _canonical(_identified(document.encode()))
    assert list(after)[:3] == ["resourceType", "id", "meta"]
    for name in ("resourceType", "id", "meta"):
        before.pop(name, None)
        after.pop(name)
    assert after == before


def test_identity_can_be_given_again() -> None:
    once = _identified(b'{"resourceType":"Patient","active":true}')
    assert _identified(once) == once


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2031, 3, 1, 9, 0, tzinfo=timezone(timedelta(hours=9))), "2031-03-01T00:00:00.000Z"),
        (datetime(2031, 3, 1, 0, 0, 0, 123456, tzinfo=UTC), "2031-03-01T00:00:00.123456Z"),
    ],
)
def test_an_instant_is_written_in_utc_with_all_its_digits(moment: datetime, written: str) -> None:
    assert json_text.instant(moment) == written

"""Queries: every search parameter with modifiers, prefixes and values that it may or may not have."""

from typing import Final

from hypothesis import strategies as st

from kanwa_shared.fhir.search.definitions import parameters_of
from tests.fuzz.bodies import OWNED, WEIRD_TEXT

Pair = tuple[str, str]

_PREFIXES: Final = st.sampled_from(["", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap", "xx"])
_DATES: Final = st.sampled_from(
    [
        "2026",
        "2026-11",
        "2026-11-25",
        "2026-02-30",
        "2026-13",
        "2026-11-25T08:00",
        "2026-11-25T08:00:00Z",
        "0001-01-01",
        "2026-11-25T24:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T23:59:59-14:00",
        "0001-01-01T00:00:00+14:00",
        "99999",
        "0000",
        "2026-11-25T08:00:60Z",
        "2026-11-25 08:00",
        "",
        "now",
    ]
)
_NUMBERS: Final = st.sampled_from(
    ["0", "1.50", "-1", "1e9", "1e999", "1e-999", "1e400000", "NaN", "Infinity", "1.", ".5", "", "\u0663"]
)
_TOKENS: Final = st.sampled_from(
    ["a", "|", "a|", "|b", "http://x|y", "a,b", ",", "\\,", "a\\|b", "true", "a|b|c", "||"]
)
_REFERENCES: Final = st.sampled_from(
    [
        "Patient/1",
        "1",
        "http://127.0.0.1/fhir/Patient/1",
        "Patient/1/_history/2",
        "#x",
        "urn:uuid:1",
        "Banana/1",
        "/",
        "Patient/",
    ]
)
_VALUES: Final[dict[str, st.SearchStrategy[str]]] = {
    "date": st.builds(str.__add__, _PREFIXES, _DATES),
    "number": st.builds(str.__add__, _PREFIXES, _NUMBERS),
    "quantity": st.builds(
        "{}{}{}".format,
        _PREFIXES,
        _NUMBERS,
        st.sampled_from(["", "|", "||", "|||", "||mg", "|http://unitsofmeasure.org|mg"]),
    ),
    "token": _TOKENS,
    "reference": _REFERENCES,
    "composite": st.sampled_from(["a$b", "$", "a$b$c", "a", "http://x|y$ge5"]),
    "uri": st.sampled_from(["http://x", "urn:oid:1.2", "a b"]),
    "string": st.sampled_from(["a", "Åse", "%", "_", "\\", "a\\,b", "a,b"]),
}
_MODIFIERS: Final = st.sampled_from(
    [
        "",
        "",
        "",
        ":exact",
        ":contains",
        ":not",
        ":missing",
        ":identifier",
        ":of-type",
        ":Patient",
        ":text",
        ":in",
        ":above",
        ":below",
        ":banana",
        ":",
        ".name",
        ".identifier",
        ":Patient.name",
        ":Patient.organization.name",
    ]
)
_CONTROLS: Final = st.sampled_from(
    [
        ("_count", "0"),
        ("_count", "1"),
        ("_count", "-1"),
        ("_count", "99999999999"),
        ("_sort", "-_lastUpdated"),
        ("_sort", "banana"),
        ("_sort", "_id,-_id"),
        ("_sort", ""),
        ("_include", "*"),
        ("_include", "Task:patient"),
        ("_include:iterate", "ServiceRequest:subject"),
        ("_revinclude", "Observation:subject"),
        ("_revinclude", ":"),
        ("_total", "accurate"),
        ("_total", "maybe"),
        ("_summary", "count"),
        ("_summary", "text"),
        ("_summary", "x"),
        ("_elements", "id,status"),
        ("_elements", ""),
        ("_cursor", "abc"),
        ("_cursor", "AAAA"),
        ("_contained", "true"),
        ("_format", "json"),
        ("_format", "xml"),
        ("_pretty", "true"),
        ("_lastUpdated", "ge2020-01-01T00:00"),
        ("_id", "a,b"),
        ("_tag", "a|b"),
        ("_profile", "http://x"),
        ("_has:Observation:patient:code", "a"),
        ("_has:Banana:x:y", "z"),
        ("_has:Observation:patient:_has:Provenance:target:agent", "Practitioner/1"),
        ("_since", "2020"),
        ("_at", "2026"),
        ("_type", "Patient"),
        ("_text", "a"),
        ("_content", "a"),
        ("_filter", "a eq b"),
        ("", ""),
        ("=", "&"),
    ]
)


@st.composite
def _parameter(draw: st.DrawFn, resource_type: str) -> Pair:
    parameter = draw(st.sampled_from(list(parameters_of(resource_type).values())))
    value = draw(_VALUES.get(parameter.type, WEIRD_TEXT) | WEIRD_TEXT)
    return parameter.code + draw(_MODIFIERS), value


def queries(resource_type: str) -> st.SearchStrategy[list[Pair]]:
    """Up to four parameters of a search on the type."""
    return st.lists(_parameter(resource_type) | _CONTROLS, max_size=4)


types: Final = st.sampled_from(OWNED)

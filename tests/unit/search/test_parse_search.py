"""What is understood, what is refused, and in which words."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanwa_shared.errors import Invalid, NotSupported
from kanwa_shared.fhir.search import parse_search, projected
from kanwa_shared.fhir.search.conditions import AllOf, HasRange
from kanwa_shared.fhir.search.definitions import parameters_of
from kanwa_shared.fhir.search.parsing import MAX_JOINED_ARMS, MAX_PARAMETERS


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("colour", "red", "has no search parameter colour; it has _id"),
        ("status:below", "active", "modifiers of this token parameter are not, missing, text, of-type"),
        ("authored:not", "2026", "modifiers of this date parameter are missing"),
        ("patient.colour", "red", "Patient has no search parameter colour"),
        ("status.name", "x", "is no reference"),
        ("subject:Medication", "1", "it refers to Device, Group, Location, Patient"),
        ("subject:Medication.code", "1", "refers to Device, Group, Location, Patient, not to Medication"),
        ("subject:nonsense", "1", "identifier, missing and the types"),
        ("_has:Observation:focus:colour", "1", "Observation has no search parameter colour"),
        ("_has:Observation:derived-from:code", "1", "does not refer to ServiceRequest"),
        ("_sort", "colour", "can be sorted by"),
        ("_sort:desc", "authored", "DSTU2"),
        ("_count:exact", "5", "_count has no modifiers; write _count=5"),
        ("_summary:missing", "true", "_summary has no modifiers"),
        ("_cursor:x", "abc", "_cursor has no modifiers"),
        ("_include:deep", "ServiceRequest:subject", ":iterate"),
        ("_include", "ServiceRequest:status", "reference parameters of ServiceRequest are based-on"),
        ("_text", "pain", "has no search parameter _text"),
        ("_filter", "x", "has no search parameter _filter"),
        ("code:of-type", "a|b|c", "only identifiers have a type"),
        ("_contained", "true", "not searched"),
    ],
)
def test_what_is_not_offered_is_refused_unless_lenient(name: str, value: str, said: str) -> None:
    with pytest.raises(NotSupported) as refused:
        parse_search("ServiceRequest", [("status", "active"), (name, value)])
    assert said in refused.value.issues[0].diagnostics
    assert refused.value.issues[0].code == "not-supported"
    search = parse_search("ServiceRequest", [("status", "active"), (name, value)], lenient=True)
    assert search.honoured == (("status", "active"),)
    assert [issue.severity for issue in search.ignored] == ["warning"]
    assert said in search.ignored[0].diagnostics


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("authored", "yesterday", "expected a date such as 2026"),
        ("authored", "ge2026-02-30", "expected a date"),
        ("authored:missing", "yes", "expected true or false"),
        ("_count", "-1", "whole number"),
        ("_count", "ten", "whole number"),
        ("_total", "all", "one of none, estimate, accurate"),
        ("_summary", "yes", "one of true, text, data, count, false"),
        ("subject:Patient", "Group/1", "another type than the modifier"),
        ("identifier:of-type", "a|b", "type-system|type-code|value"),
        ("_include", "subject", "SourceType:parameter"),
        ("_include", "Task:focus", "the matches are ServiceRequest"),
        ("_has:Observation:subject", "x", "expected _has:Type:reference:parameter"),
        ("identifier", "", "it has no value"),
        ("status", ",", "no value between the commas"),
        ("status", "a\0b", "are no text"),
        ("status", "\ud800", "are no text"),
    ],
)
def test_what_is_malformed_is_refused_even_if_lenient(name: str, value: str, said: str) -> None:
    for lenient in (False, True):
        with pytest.raises(Invalid) as refused:
            parse_search("ServiceRequest", [(name, value)], lenient=lenient)
        assert said in refused.value.issues[0].diagnostics


def test_a_parameter_without_a_value_is_ignored_in_words() -> None:
    params = [("status", "active"), ("patient", ""), ("_count", ""), ("colour", "")]
    search = parse_search("ServiceRequest", params, ignore_empty=True)
    assert search.honoured == (("status", "active"),)
    assert [issue.diagnostics.split()[1] for issue in search.ignored] == ["patient", "_count", "colour"]


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(NotSupported) as refused:
        parse_search("Task", [("colour", "red"), ("status", "requested"), ("size", "1")])
    assert len(refused.value.issues) == 2


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(NotSupported, match="Referral"):
        parse_search("Referral", [])


def test_a_chain_over_every_type_must_name_one() -> None:
    with pytest.raises(NotSupported, match="say which type you mean"):
        parse_search("Task", [("focus.status", "active")])


def test_habits_of_known_clients_are_accepted() -> None:
    params = [("_format", "json"), ("_pretty", "true"), ("_totalMethod", "count"), ("_count", "0")]
    search = parse_search("Patient", [*params, ("_lastUpdated", "ge2020-01-01T00:00")])
    assert (search.count, search.ignored) == (0, ())
    # A plus sign that a client did not encode.
    parse_search("Task", [("authored-on", "ge2026-03-05T10:00:00 09:00")])


def test_a_page_is_never_larger_than_the_maximum() -> None:
    assert parse_search("Task", [("_count", "999999")]).count == 1000
    assert parse_search("Task", [("_count", "80")], max_count=60).count == 60
    assert parse_search("Task", []).count == 50


@pytest.mark.parametrize("prefix", ["ge", "ne", "gt", "le", "ap"])
def test_a_search_grows_with_its_parameters_and_not_faster(prefix: str) -> None:
    search = parse_search("Task", [("authored-on", f"{prefix}2026-03-{day:02}") for day in range(1, 11)])
    assert isinstance(search.condition, AllOf)
    tests = [
        test for part in search.condition.conditions if isinstance(part, HasRange) for test in part.tests
    ]
    assert sum(len(test.arms) for test in tests) <= 10 * MAX_JOINED_ARMS


def test_a_range_of_one_parameter_is_one_test() -> None:
    search = parse_search("Task", [("authored-on", "ge2026-03-01"), ("authored-on", "lt2026-04-01")])
    assert isinstance(search.condition, AllOf)
    assert len(search.condition.conditions) == 1


def test_a_search_of_very_many_parameters_is_refused() -> None:
    params = [("status:not", "draft")] * MAX_PARAMETERS
    parse_search("Task", params)
    with pytest.raises(Invalid, match="at most 100 parameters"):
        parse_search("Task", [*params, ("code", "fulfill")])


NAMES = st.sampled_from(
    ["status", "code", "subject", "patient.name", "authored", "_has:Task:focus:status", "_sort"]
)
WORDS = st.text(max_size=20) | st.sampled_from(["stat", "|", "a|b", "\\,", "$", "ge2026", "1,2", "Patient/1"])


@given(st.sampled_from(sorted(parameters_of("Observation"))) | NAMES | st.text(max_size=12), WORDS)
def test_any_query_is_understood_or_refused(name: str, value: str) -> None:
    with suppress(NotSupported, Invalid):
        parse_search("Observation", [(name, value)])


OBSERVATION = {
    "resourceType": "Observation",
    "id": "1",
    "meta": {"versionId": "2", "tag": [{"code": "demo"}]},
    "text": {"status": "generated", "div": "<div/>"},
    "status": "final",
    "_status": {"extension": []},
    "code": {"text": "pain"},
    "valueInteger": 3,
    "note": [{"text": "n"}],
    "component": [{"id": "c", "code": {"text": "x"}, "valueString": "y", "interpretation": [{"text": "z"}]}],
}


@pytest.mark.parametrize(
    ("params", "members"),
    [
        ([("_elements", "note")], {"status", "_status", "code", "note"}),
        ([("_elements", "Observation.note,id")], {"status", "_status", "code", "note"}),
        ([("_summary", "text")], {"status", "_status", "code", "text"}),
        ([("_summary", "data")], {"status", "_status", "code", "valueInteger", "note", "component"}),
        ([("_summary", "true")], {"status", "_status", "code", "valueInteger", "component"}),
    ],
)
def test_a_part_holds_what_was_asked_for_and_what_is_mandatory(
    params: list[tuple[str, str]], members: set[str]
) -> None:
    part = projected(OBSERVATION, parse_search("Observation", params))
    assert part is not None
    assert set(part) == {"resourceType", "id", "meta", *members}
    assert [tag["code"] for tag in part["meta"]["tag"]] == ["demo", "SUBSETTED"]
    assert OBSERVATION["meta"] == {"versionId": "2", "tag": [{"code": "demo"}]}


def test_a_summary_goes_into_repeating_elements() -> None:
    part = projected(OBSERVATION, parse_search("Observation", [("_summary", "true")]))
    assert part is not None
    assert part["component"] == [{"id": "c", "code": {"text": "x"}, "valueString": "y"}]


def test_elements_of_a_type_are_for_resources_of_that_type() -> None:
    search = parse_search("Task", [("_elements", "Observation.code")])
    assert projected({"resourceType": "Task", "status": "requested", "intent": "order"}, search) is None
    part = projected(OBSERVATION, search)
    assert part is not None
    assert "valueInteger" not in part


def test_a_whole_resource_is_left_alone() -> None:
    assert projected(OBSERVATION, parse_search("Observation", [])) is None
    assert projected(OBSERVATION, parse_search("Observation", [("_summary", "false")])) is None

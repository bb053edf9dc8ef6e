"""SMART scopes in both versions, and what they grant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanwa_shared.security.caller import ANONYMOUS, Caller
from kanwa_shared.security.scopes import Scope, allows, parse_scope, parse_scopes

TYPES = st.sampled_from(["ServiceRequest", "Task", "Observation", "Patient"])
LETTERS = st.sampled_from("cruds")


@pytest.mark.parametrize(
    ("text", "resource_type", "permissions"),
    [
        ("system/*.cruds", "*", "cruds"),
        ("system/ServiceRequest.rs", "ServiceRequest", "rs"),
        ("system/Task.u", "Task", "u"),
        ("system/Observation.cud", "Observation", "cud"),
        ("system/Patient.read", "Patient", "rs"),
        ("system/Patient.write", "Patient", "cud"),
        ("system/*.*", "*", "cruds"),
        ("system/*.read", "*", "rs"),
    ],
)
def test_a_scope_of_either_version_grants_what_it_says(
    text: str, resource_type: str, permissions: str
) -> None:
    assert parse_scope(text) == Scope(resource_type, frozenset(permissions))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "openid",
        "patient/Observation.rs",
        "user/*.cruds",
        "system/Observation",
        "system/Observation.",
        "system/Observation.sr",
        "system/Observation.rr",
        "system/Observation.rsx",
        "system/Observation.READ",
        "system/observation.rs",
        "system/Observation.rs?category=laboratory",
        "system/*.rs ",
        "system/*.rs\n",
        "system/Observation,Task.rs",
        "system/\uff34ask.rs",
        "xsystem/*.rs",
    ],
)
def test_what_is_no_system_scope_or_is_restricted_grants_nothing(text: str) -> None:
    assert parse_scope(text) is None


@given(TYPES, st.sets(LETTERS, min_size=1), TYPES, LETTERS)
def test_a_scope_grants_its_permissions_on_its_type_and_nothing_else(
    granted_type: str, granted: set[str], asked_type: str, asked: str
) -> None:
    letters = "".join(letter for letter in "cruds" if letter in granted)
    scopes = parse_scopes(f"openid system/{granted_type}.{letters}")
    expected = asked_type == granted_type and asked in granted
    assert allows(scopes, asked_type, asked) is expected
    assert not allows(scopes, "*", asked)


@given(st.lists(st.tuples(TYPES | st.just("*"), st.sets(LETTERS, min_size=1))), TYPES, LETTERS)
def test_several_scopes_grant_the_union_of_each(
    granted: list[tuple[str, set[str]]], asked_type: str, asked: str
) -> None:
    texts = [f"system/{name}.{''.join(x for x in 'cruds' if x in letters)}" for name, letters in granted]
    one_by_one = any(allows(parse_scopes(text), asked_type, asked) for text in texts)
    assert allows(parse_scopes(" ".join(texts)), asked_type, asked) is one_by_one


@given(st.text())
def test_any_text_is_read_without_a_fault_and_grants_no_more_than_its_words(text: str) -> None:
    assert parse_scopes(text) == {scope for word in text.split() if (scope := parse_scope(word))}


def test_a_caller_without_the_scope_is_told_which_one_is_missing() -> None:
    caller = Caller("ehr", parse_scopes("system/Task.rs"))
    caller.check("Task", "r")
    with pytest.raises(Exception, match=r"system/Task\.u") as refused:
        caller.check("Task", "u")
    assert refused.value.issues[0].code == "forbidden"


def test_without_authentication_everybody_may_do_everything() -> None:
    assert all(ANONYMOUS.may(name, letter) for name in ("*", "Task") for letter in "cruds")

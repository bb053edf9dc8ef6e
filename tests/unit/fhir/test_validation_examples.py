"""kanwa's own examples: the valid ones pass, and each invalid one has just the fault it was made for."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fhirkit
import pytest

from kanwa_shared.fhir import json_text
from kanwa_shared.fhir.json_text import JsonDecimal
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation import validate
from kanwa_shared.fhir.validation.definitions import part

EXAMPLES = Path(__file__).parents[3] / "shared/examples"
VALID = sorted((EXAMPLES / "valid").glob("*.json"))
INVALID = sorted((EXAMPLES / "invalid").glob("*.json"))


def _stem(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", VALID, ids=_stem)
def test_a_valid_example_is_accepted(path: Path) -> None:
    body = path.read_bytes()
    assert validate(json_text.parse(body), body) == []


@pytest.mark.parametrize("path", VALID, ids=_stem)
def test_a_valid_example_is_valid_to_an_independent_parser(path: Path) -> None:
    assert fhirkit.validate(path.read_bytes()) == []


@pytest.mark.parametrize("path", INVALID, ids=_stem)
def test_an_invalid_example_has_the_fault_it_was_made_for(path: Path) -> None:
    written = json_text.parse(path.read_bytes())
    found = validate(written["resource"])
    assert {(issue.code, *issue.expression) for issue in found} == {
        (written["fault"]["code"], written["fault"]["expression"])
    }


def test_all_faults_of_a_resource_are_told_at_once() -> None:
    tree = json_text.parse((EXAMPLES / "valid/service-request.json").read_bytes())
    del tree["subject"]
    tree |= {"priority": "STAT", "urgency": 1, "authoredOn": "2031-02-30", "occurrenceDateTime": "2031"}
    assert {(issue.code, issue.expression[0]) for issue in validate(tree)} == {
        ("required", "ServiceRequest.subject"),
        ("code-invalid", "ServiceRequest.priority"),
        ("structure", "ServiceRequest.urgency"),
        ("value", "ServiceRequest.authoredOn"),
        ("structure", "ServiceRequest.occurrence"),
    }


def _places(node: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield (*at, key)
            yield from _places(value, (*at, key))


def _changed(tree: Tree, place: tuple[str | int, ...], value: Any) -> Tree:
    changed = copy.deepcopy(tree)
    node: Any = changed
    for step in place[:-1]:
        node = node[step]
    node[place[-1]] = value
    return changed


@pytest.mark.parametrize("value", [None, [], {}, "", [None], [{}]], ids=json.dumps)
@pytest.mark.parametrize("path", VALID, ids=_stem)
def test_emptiness_is_refused_wherever_it_stands(path: Path, value: Any) -> None:
    tree = json_text.parse(path.read_bytes())
    for place in _places(tree):
        changed = _changed(tree, place, value)
        assert changed == tree or validate(changed) != [], place


@pytest.mark.parametrize("value", [1, True, "#x", [1], [["a"]], {"a": 1}, JsonDecimal("1e5")], ids=str)
@pytest.mark.parametrize("path", VALID, ids=_stem)
def test_a_value_of_any_kind_anywhere_is_judged_and_never_a_crash(path: Path, value: Any) -> None:
    tree = json_text.parse(path.read_bytes())
    for place in _places(tree):
        assert all(issue.expression for issue in validate(_changed(tree, place, value))), place


@pytest.mark.parametrize("path", VALID, ids=_stem)
def test_an_unknown_element_is_refused_wherever_it_stands(path: Path) -> None:
    tree = json_text.parse(path.read_bytes())
    for place in [(), *_places(tree)]:
        node: Any = tree
        for step in place:
            node = node[step]
        if isinstance(node, dict):
            issues = validate(_changed(tree, (*place, "resource_type"), "x"))
            assert any("resource_type" in issue.diagnostics for issue in issues), place


@pytest.mark.parametrize("path", VALID, ids=_stem)
def test_a_resource_without_a_required_element_is_refused(path: Path) -> None:
    tree = json_text.parse(path.read_bytes())
    for name, keys in part(tree["resourceType"]).required:
        without = {key: value for key, value in tree.items() if key not in keys}
        expected = ("required", f"{tree['resourceType']}.{name}")
        assert expected in {(issue.code, *issue.expression) for issue in validate(without)}


def test_no_patient_text_is_repeated_in_what_a_client_is_told() -> None:
    tree = json_text.parse((EXAMPLES / "valid/patient.json").read_bytes())
    tree["birthDate"] = "1951-04-02 Tanaka"
    tree["name"][0]["family"] = ["Tanaka"]
    assert not any("Tanaka" in issue.diagnostics for issue in validate(tree))

"""kanwa's profiles: what its own code writes conforms, and each rule refuses what it is there for."""

import copy

import pytest

from kanwa_intake.domain.coordination import (
    ORDERS,
)
from kanwa_intake.domain.task_states import NEEDS_REASON
from kanwa_shared.fhir.json_text import JsonDecimal, dumps
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation import validate
from kanwa_shared.profiles import claimed_faults, profile_resources, profiles_of, validate_profile
from kanwa_shared.profiles.structure import UnsupportedProfile, profile, read_profile
from tests.mutations.profile_cases import (
    BASE,
    BREAKING,
    CONFORMING,
    QUANTITY,
    coordination,
    pain,
    procedure,
    without,
)


@pytest.mark.parametrize("id", CONFORMING)
def test_what_kanwa_itself_writes_conforms_to_its_profile(id: str) -> None:
    trees = CONFORMING[id]()
    assert trees
    for tree in trees:
        assert validate(tree, dumps(tree)) == []
        assert validate_profile(tree, BASE + id) == []


@pytest.mark.parametrize(
    ("id", "tree", "fault"), BREAKING, ids=lambda each: each if isinstance(each, str) else ""
)
def test_what_a_profile_forbids_is_refused_with_its_place(
    id: str, tree: Tree, fault: tuple[str, str]
) -> None:
    assert validate(tree, dumps(tree)) == [], "base R4 has nothing against it"
    found = validate_profile(tree, BASE + id)
    assert fault in {(issue.code, issue.expression[0]) for issue in found}
    assert all(BASE + id in issue.diagnostics for issue in found)


def test_all_faults_of_a_profile_are_told_at_once() -> None:
    task = without(coordination(), "focus", "owner") | {"intent": "plan"}
    assert {issue.expression for issue in validate_profile(task, BASE + "coordination-task")} == {
        ("Task.focus",),
        ("Task.owner",),
        ("Task.intent",),
    }


@pytest.mark.parametrize(
    ("claim", "code"),
    [
        (BASE + "ir-procedure", "required"),
        (BASE + "ir-procedure|1.0.0", "required"),
        (BASE + "ir-procedure|9.9.9", "not-found"),
        (BASE + "no-such-profile", "not-found"),
        (BASE + "referral", "invalid"),
        ("http://hl7.org/fhir/us/core/StructureDefinition/us-core-procedure", None),
    ],
)
def test_a_claimed_profile_of_kanwa_is_judged_and_others_are_not(claim: str, code: str | None) -> None:
    tree = without(procedure(), "basedOn") | {"meta": {"profile": [claim]}}
    assert [issue.code for issue in claimed_faults(tree)] == ([code] if code else [])


def test_a_claim_inside_a_bundle_is_judged_at_its_place() -> None:
    claiming = without(procedure(), "basedOn") | {"meta": {"profile": [BASE + "ir-procedure"]}}
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"resource": procedure()}, {"resource": claiming}],
    }
    assert [issue.expression for issue in claimed_faults(bundle)] == [("Bundle.entry[1].resource.basedOn",)]


def test_a_value_that_only_has_extensions_is_there_and_is_not_what_a_pattern_asks() -> None:
    task = without(coordination(), "intent", "authoredOn")
    beside = {"extension": [{"url": "http://x.example/e", "valueString": "?"}]}
    found = validate_profile(task | {"_intent": beside, "_authoredOn": beside}, BASE + "coordination-task")
    assert [issue.expression for issue in found] == [("Task.intent",)]


@pytest.mark.parametrize("published", profile_resources(), ids=lambda tree: tree["id"])
def test_a_published_profile_is_valid_r4_and_agrees_with_its_snapshot(published: Tree) -> None:
    assert validate(published, dumps(published)) == []
    assert published["url"] == BASE + published["id"]
    assert published["url"] in profiles_of(published["type"])
    snapshot = {element["id"]: element for element in published["snapshot"]["element"]}
    for element in published["differential"]["element"]:
        generated = snapshot[element["id"]]
        for name, value in element.items():
            if name == "constraint":
                assert all(rule in generated["constraint"] for rule in value)
            else:
                assert generated[name] == value
        assert all(id.rpartition(".")[0] in snapshot for id in snapshot if "." in id)


def test_the_profiles_say_what_the_code_says() -> None:
    def expression(id: str, key: str) -> str:
        root = profile(BASE + id)
        assert root is not None
        return next(rule.expression for rule in root.root.constraints if rule.key == key)

    assert {f"'{intent}'" for intent in ORDERS} == set(expression("referral", "kwr-1")[11:-1].split(" | "))
    for status in NEEDS_REASON:
        assert f"'{status}'" in expression("coordination-task", "kwt-1")


def test_a_profile_that_asks_what_is_not_judged_is_not_read() -> None:
    definition = copy.deepcopy(profile_resources()[0])
    definition["differential"]["element"].append({"id": "Task.note", "path": "Task.note", "maxLength": 3})
    with pytest.raises(UnsupportedProfile):
        read_profile(definition)


def test_a_number_of_another_writing_is_no_other_value() -> None:
    assert (
        validate_profile(
            pain(valueQuantity=QUANTITY | {"value": JsonDecimal("10.00")}), BASE + "pain-observation"
        )
        == []
    )

"""The committed tables cover R4, fhir.resources agrees with them, nothing is loaded before it is needed."""

import subprocess
import sys
import time
from importlib.util import find_spec

import pytest
from fhir.resources.R4B import get_fhir_model_class

from kanwa_shared import ownership
from kanwa_shared.fhir import resources
from kanwa_shared.fhir.validation import (
    RESOURCE_TYPES,
    definitions,
    invariants,
    is_resource_type,
    validate,
    warm,
)
from kanwa_shared.fhir.validation.resource_types import R4_RESOURCE_TYPES

_HOSTILE_SECONDS = 5.0  # of CPU time, on a machine that does other things too; quadratic costs are far above


def test_r4_has_146_resource_types_and_18_of_them_are_not_modelled() -> None:
    assert len(R4_RESOURCE_TYPES) == 146
    assert len(R4_RESOURCE_TYPES - RESOURCE_TYPES) == 18
    assert {
        name for name in R4_RESOURCE_TYPES if find_spec(f"fhir.resources.R4B.{name.lower()}")
    } == RESOURCE_TYPES


def test_every_owned_type_is_offered() -> None:
    assert ownership.SCHEDULING_TYPES | ownership.OUTCOMES_TYPES <= RESOURCE_TYPES
    assert is_resource_type("ServiceRequest")
    assert not is_resource_type("MedicinalProduct")
    assert not is_resource_type("DomainResource")


def _model_keys(name: str) -> set[str]:
    fields = get_fhir_model_class(name).model_fields
    keys = {field.alias or key for key, field in fields.items()} - {"fhir_comments", "resourceType"}
    return {key for key in keys if not key.startswith("_")}


@pytest.mark.parametrize("name", sorted(RESOURCE_TYPES))
def test_a_type_has_the_elements_that_its_model_has(name: str) -> None:
    ours = {key for key, member in definitions.part(name).members.items() if not member.sibling}
    missing = ours - _model_keys(name)
    assert bool(missing) == (name in resources.CHANGED_IN_R4B), missing
    if not missing:
        assert _model_keys(name) - ours <= {"subjectCanonical"}  # R4B added it to two definitional types


def test_every_constraint_of_every_type_compiles() -> None:
    for name in definitions.names():
        kind = definitions.part(name)
        for rule in (
            *kind.invariants,
            *(rule for member in kind.members.values() for rule in member.invariants),
        ):
            assert (invariants.compiled(rule) is None) == (rule.key in invariants.ELSEWHERE), rule.key


def test_every_part_that_a_member_names_exists() -> None:
    for name in definitions.names():
        for member in definitions.part(name).members.values():
            assert member.test is not None or member.type_name == "Resource" or member.part.members, (
                member.key
            )


def test_a_required_binding_has_codes() -> None:
    assert definitions.codes("http://hl7.org/fhir/ValueSet/request-priority") == {
        "http://hl7.org/fhir/request-priority": frozenset({"routine", "urgent", "asap", "stat"})
    }


def test_importing_the_validator_loads_neither_tables_nor_models() -> None:
    program = (
        "import sys; from kanwa_shared.fhir.validation import definitions, validate;"
        "assert not definitions._tables.cache_info().currsize;"
        "assert not [m for m in sys.modules if m.startswith('fhir.resources.R4B.servicerequest')]"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_warm_type_is_validated_without_reading_tables() -> None:
    warm(["Slot", "Bundle"])
    before = definitions.part.cache_info().misses
    slot = {"resourceType": "Slot", "schedule": {"reference": "Schedule/1"}, "status": "free"}
    assert [issue.expression for issue in validate(slot)] == [("Slot.start",), ("Slot.end",)]
    assert definitions.part.cache_info().misses == before


def test_a_flood_of_faults_is_cut_off() -> None:
    issues = validate({"resourceType": "Patient", **{f"x{n}": 1 for n in range(10_000)}})
    assert len(issues) < 250
    assert issues[-1].code == "too-costly"


@pytest.mark.parametrize("name", [None, 1, "", "patient", "Patient ", [], {}])
def test_a_document_without_a_type_is_refused(name: object) -> None:
    assert [issue.expression for issue in validate({"resourceType": name})] == [("resourceType",)]


def test_the_second_judge_agrees_with_the_walk_on_structure() -> None:
    assert resources.judge({"resourceType": "Slot", "start": 1}) != []
    assert (
        resources.judge({"resourceType": "Patient", "extension": [{"url": "x", "valueMeta": {"id": "a"}}]})
        == []
    )


@pytest.mark.parametrize(
    "tree",
    [
        {"resourceType": "Patient", **{"x" * 100_000 + str(n): 1 for n in range(50)}},
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"coding": [{"code": f"a{n}"} for n in range(5_000)]},
            "valueInteger": 1,
            "component": [{"code": {"coding": [{"code": f"b{n}"} for n in range(5_000)]}}],
        },
        {
            "resourceType": "Questionnaire",
            "status": "active",
            "item": [{"linkId": str(n), "type": "display"} for n in range(3_000)],
        },
        {"resourceType": "Patient", "text": {"status": "generated", "div": "<a>" * 300_000}},
        {"resourceType": "Patient", "photo": [{"contentType": "image/png", "data": "A" * 900_000 + "="}]},
        {"resourceType": "Patient", "generalPractitioner": [{"reference": "http://" + "A/" * 400_000}]},
        {"resourceType": "Task", "note": [{"text": " " * 1_000_000 + "\x00"}], "status": "a " * 400_000},
    ],
    ids=[
        "long names",
        "many codings",
        "many items",
        "deep narrative",
        "base64",
        "long reference",
        "long texts",
    ],
)
def test_a_hostile_document_of_a_megabyte_is_judged_in_seconds(tree: dict[str, object]) -> None:
    started = time.process_time()
    validate(tree)
    assert time.process_time() - started < _HOSTILE_SECONDS

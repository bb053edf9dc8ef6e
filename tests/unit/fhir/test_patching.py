"""Patches change what they name and keep every digit of the rest."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanwa.conformance.suites import PATCH_FILE
from kanwa.conformance.xml_resources import read_document, resource_of
from kanwa_shared.errors import BusinessRule, Conflict, DomainError, Invalid
from kanwa_shared.fhir.json_text import dumps, parse
from kanwa_shared.fhir.patching import elements as elements_module
from kanwa_shared.fhir.patching import fhirpath_patch, json_patch, merge_patch, read_patch
from kanwa_shared.fhir.patching.budget import Budget
from kanwa_shared.fhir.patching.places import parse_path, places

FHIR_DATA = Path(os.environ.get("KANWA_FHIR_DATA", Path(__file__).parents[3].parent / "shared/fhir-data"))
OBSERVATION = b'{"resourceType":"Observation","status":"final","valueQuantity":{"value":1.10,"unit":"1"}}'


def operation(**parts: Any) -> dict[str, Any]:
    """One operation; a part's value is a (key, value) pair, or a string."""
    listed = [
        {"name": name, **(value if isinstance(value, dict) else {"valueString": value})}
        for name, value in parts.items()
    ]
    return {"name": "operation", "part": listed}


def fhirpath(tree: dict[str, Any], *operations: dict[str, Any]) -> dict[str, Any]:
    return fhirpath_patch(tree, {"resourceType": "Parameters", "parameter": list(operations)})


@pytest.mark.parametrize(
    "patch",
    [
        b'[{"op":"replace","path":"/status","value":"amended"}]',
        b'{"status":"amended"}',
        b'{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"replace"},'
        b'{"name":"path","valueString":"Observation.status"},{"name":"value","valueCode":"amended"}]}]}',
    ],
    ids=["json", "merge", "fhirpath"],
)
def test_a_patch_of_any_kind_changes_what_it_names_and_no_digit_of_the_rest(patch: bytes) -> None:
    change = read_patch(patch, "application/json", max_depth=64)
    assert dumps(change(parse(OBSERVATION))) == OBSERVATION.replace(b"final", b"amended")


@pytest.mark.parametrize(
    "patch",
    [
        b'[{"op":"add","path":"/valueQuantity/value","value":2.50}]',
        b'{"valueQuantity":{"value":2.50}}',
        b'{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"replace"},'
        b'{"name":"path","valueString":"Observation.value.value"},{"name":"value","valueDecimal":2.50}]}]}',
    ],
    ids=["json", "merge", "fhirpath"],
)
def test_a_number_in_a_patch_keeps_its_digits(patch: bytes) -> None:
    change = read_patch(patch, "application/json", max_depth=64)
    assert dumps(change(parse(OBSERVATION))) == OBSERVATION.replace(b"1.10", b"2.50")


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b'{"status":"amended"}', "application/json-patch+json"),
        (b"[]", "application/merge-patch+json"),
        (b'"text"', "application/json"),
        (b"{", "application/json"),
        (b'{"a":1,"a":2}', "application/json"),
    ],
)
def test_a_body_that_is_no_patch_of_its_type_is_refused(body: bytes, media_type: str) -> None:
    with pytest.raises(DomainError):
        read_patch(body, media_type, max_depth=64)


@pytest.mark.parametrize(
    ("operations", "refusal"),
    [
        ([{"op": "test", "path": "/status", "value": "amended"}], Conflict),
        ([{"op": "test", "path": "/none", "value": 1}], Conflict),
        ([{"op": "test", "path": "/valueQuantity/value", "value": True}], Conflict),
        ([{"op": "remove", "path": "/none"}], BusinessRule),
        ([{"op": "replace", "path": "/a/b", "value": 1}], BusinessRule),
        ([{"op": "add", "path": "/valueQuantity/x/y", "value": 1}], BusinessRule),
        ([{"op": "remove", "path": ""}], BusinessRule),
        ([{"op": "replace", "path": "", "value": [1]}], BusinessRule),
        ([{"op": "move", "from": "/valueQuantity", "path": "/valueQuantity/value"}], BusinessRule),
        ([{"op": "erase", "path": "/status"}], Invalid),
        ([{"path": "/status"}], Invalid),
        ([{"op": "add", "path": "/status"}], Invalid),
        ([{"op": "add", "path": "status", "value": 1}], DomainError),
        ([{"op": "add", "path": 7, "value": 1}], DomainError),
        ([{"op": "copy", "path": "/x"}], DomainError),
        ([{"op": "copy", "from": 7, "path": "/x"}], DomainError),
        (["text"], Invalid),
        ([7], Invalid),
        ([None], Invalid),
        ([{"op": "test", "path": "/status", "value": "final"}] * 1001, Invalid),
        ([{"op": "copy", "from": "", "path": f"/x{number}"} for number in range(40)], Invalid),
    ],
)
def test_a_json_patch_that_cannot_be_done_is_refused(
    operations: list[Any], refusal: type[DomainError]
) -> None:
    with pytest.raises(refusal):
        json_patch(parse(OBSERVATION), operations)


@pytest.mark.parametrize("written", ["1.1", "1.10", "11e-1"])
def test_a_json_patch_tests_numbers_by_value(written: str) -> None:
    patch = b'[{"op":"test","path":"/valueQuantity/value","value":%s}]' % written.encode()
    assert read_patch(patch, "application/json-patch+json", max_depth=9)(parse(OBSERVATION))


def test_a_partial_resource_removes_with_null_and_replaces_lists() -> None:
    tree = {"a": 1, "b": {"c": [1, 2], "d": 3}, "e": 4}
    assert merge_patch(tree, {"a": None, "b": {"c": [5]}, "f": {"g": None, "h": 6}}) == {
        "b": {"c": [5], "d": 3},
        "e": 4,
        "f": {"h": 6},
    }


def patient(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **members}


def test_the_type_of_a_choice_follows_the_value_that_replaces_it() -> None:
    replaced = fhirpath(
        patient(deceasedBoolean=True),
        operation(type="replace", path="Patient.deceased", value={"valueDateTime": "2026-11-25"}),
    )
    assert replaced == patient(deceasedDateTime="2026-11-25")
    with pytest.raises(BusinessRule, match="cannot be of the type Integer"):
        fhirpath(
            patient(deceasedBoolean=True),
            operation(type="replace", path="Patient.deceased", value={"valueInteger": 1}),
        )


def test_extensions_of_a_primitive_in_a_list_stay_beside_it() -> None:
    tree = patient(name=[{"given": ["a", "b"], "_given": [None, {"id": "of-b"}]}])
    moved = fhirpath(
        tree,
        operation(
            type="move",
            path="Patient.name[0].given",
            source={"valueInteger": 1},
            destination={"valueInteger": 0},
        ),
    )
    assert moved["name"] == [{"given": ["b", "a"], "_given": [{"id": "of-b"}, None]}]
    deleted = fhirpath(moved, operation(type="delete", path="Patient.name.given.first()"))
    assert deleted["name"] == [{"given": ["a"]}]


def test_an_extension_is_found_by_its_url_and_a_condition_by_its_value() -> None:
    tree = patient(
        extension=[
            {"url": "http://a.example", "valueString": "x"},
            {"url": "http://b.example", "valueCode": "y"},
        ],
        identifier=[{"use": "usual", "value": "1"}, {"use": "official", "value": "2"}],
    )
    changed = fhirpath(
        tree,
        operation(
            type="replace", path="Patient.extension('http://b.example').value", value={"valueCode": "z"}
        ),
        operation(type="delete", path="Patient.identifier.where(use = 'usual')"),
    )
    assert changed["extension"][1]["valueCode"] == "z"
    assert changed["identifier"] == [{"use": "official", "value": "2"}]


@pytest.mark.parametrize(
    "wrong",
    [
        operation(type="rename", path="Patient.active"),
        operation(path="Patient.active"),
        operation(type="replace", path="Patient.active", value={"valueBoolean": True}),
        operation(type="add", path="Patient", name="nothing", value={"valueString": "x"}),
        operation(type="add", path="Patient", name="birthDate", value={"valueDate": "2000-01-01"}),
        operation(type="add", path="Patient", name="active"),
        operation(type="add", path="Patient", name="active", value={}),
        operation(type="delete", path="Patient"),
        operation(type="delete", path="Patient.identifier"),
        operation(type="insert", path="Patient.identifier", index={"valueInteger": 3}, value={"valueIdentifier": {}}),
        operation(type="insert", path="Patient.birthDate", index={"valueInteger": 0}, value={"valueDate": "2000"}),
        operation(type="move", path="Patient.identifier", source={"valueInteger": 2}, destination={"valueInteger": 0}),
        operation(type="move", path="Patient.identifier", source={"valueInteger": -1}, destination="0"),
        operation(type="delete", path="Patient.identifier.where(value.matches('(a+)+$'))"),
        operation(type="delete", path="Patient.identifier.where(value + 1 = 2)"),
        operation(type="delete", path="Patient.descendants()"),
        operation(type="delete", path="Patient.identifier["),
        operation(type="delete", path="Patient.identifier.where("),
        operation(type="delete", path="(" * 900),
        operation(type="delete", path="'text'"),
        {"name": "other"},
    ],
)  # fmt: skip
def test_a_fhirpath_patch_that_cannot_be_done_is_refused(wrong: dict[str, Any]) -> None:
    tree = patient(birthDate="2000-01-01", identifier=[{"value": "1"}, {"value": "2"}])
    with pytest.raises(DomainError):
        fhirpath(tree, wrong)


def identifiers(count: int) -> list[dict[str, Any]]:
    return [{"system": "http://a.example/ids", "value": str(number)} for number in range(count)]


BY_VALUE = "Patient.identifier.where(value = '7' and system = 'http://a.example/ids')"


def test_a_condition_over_a_long_list_does_not_read_the_list_anew_for_each_element(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(elements_module, "elements", _refuse_whole_lists)
    tree = patient(identifier=identifiers(5000))
    assert [place.position for place in places(parse_path(BY_VALUE, Budget()), tree, Budget())] == [7]


def _refuse_whole_lists(*_: Any) -> Any:
    raise AssertionError("a place reads the whole list for one element")


@pytest.mark.parametrize(
    ("size", "operations"),
    [
        (2000, [operation(type="delete", path=BY_VALUE)] * 1000),
        (100_000, [operation(type="delete", path=BY_VALUE)]),
        (1000, [operation(type="replace", path="Patient.identifier[7].value", value="x")] * 1000),
        (
            2000,
            [
                operation(
                    type="insert",
                    path="Patient.identifier",
                    index={"valueInteger": 0},
                    value={"valueIdentifier": {"value": "x"}},
                )
            ]
            * 1000,
        ),
        (
            1,
            [operation(type="delete", path=f"Patient.identifier.where({' and '.join(['1=2'] * 120)})")]
            * 1000,
        ),
    ],
    ids=["conditions", "a long list", "positions", "inserts", "long paths"],
)
def test_a_patch_whose_paths_cost_too_much_is_refused(size: int, operations: list[dict[str, Any]]) -> None:
    with pytest.raises(BusinessRule, match="look at too many elements") as refused:
        fhirpath(patient(identifier=identifiers(size)), *operations)
    assert refused.value.issues[0].code == "too-costly"


def test_text_counts_toward_what_a_condition_costs() -> None:
    tree = patient(photo=[{"data": "A" * 1_000_000}])
    dear = operation(type="delete", path="Patient.photo.where(data.contains('B'))")
    with pytest.raises(BusinessRule, match="look at too many elements"):
        fhirpath(tree, *[dear] * 100)


def test_a_thousand_operations_on_an_ordinary_resource_are_done() -> None:
    patched = fhirpath(
        patient(identifier=identifiers(20)),
        *[operation(type="replace", path="Patient.identifier[3].value", value="x")] * 998,
        operation(type="delete", path=BY_VALUE),
        operation(type="delete", path=BY_VALUE),
    )
    assert len(patched["identifier"]) == 19


@pytest.mark.parametrize("variable", ["%resource", "%rootResource", "%context"])
def test_a_condition_sees_its_element_and_not_the_whole_resource(variable: str) -> None:
    path = f"Patient.identifier.where({variable}.identifier.exists())"
    with pytest.raises(Invalid, match=f"{variable} is not served"):
        fhirpath(patient(identifier=identifiers(2)), operation(type="delete", path=path))


@given(
    st.lists(st.sampled_from(list("Patient.identifier[0]where(value='1') ofTypeas<>&|%$`\\\"")), max_size=60)
)
def test_no_path_does_more_than_be_refused(characters: list[str]) -> None:
    tree = patient(identifier=[{"value": "1"}, {"value": "2"}])
    for path in ("".join(characters), "Patient.identifier." + "".join(characters)):
        with suppress(DomainError):
            assert fhirpath(tree, operation(type="delete", path=path))["resourceType"] == "Patient"


@pytest.mark.skipif(not (FHIR_DATA / PATCH_FILE).is_file(), reason="HL7's suite is not beside the repository")
def test_hl7s_suite_of_fhirpath_patches_passes() -> None:
    cases = list(read_document((FHIR_DATA / PATCH_FILE).read_bytes()))
    assert len(cases) == 33
    for case in cases:
        before, change, after = (case.find(name) for name in ("input", "diff", "output"))
        assert before is not None
        assert change is not None
        try:
            result: object = fhirpath_patch(resource_of(before[0]), resource_of(change[0]))
        except DomainError as refusal:
            result = refusal
        if after is None:
            assert isinstance(result, DomainError), case.get("name")
        else:
            assert result == resource_of(after[0]), case.get("name")

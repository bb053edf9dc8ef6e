"""fhir.resources is asked once about each shape, and its refusals are never remembered as acceptance."""

from typing import Any

from kanwa_shared.fhir import resources


def a_patient(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **members}


def test_a_shape_that_was_accepted_is_accepted_with_other_values() -> None:
    assert resources.judge(a_patient(name=[{"family": "Aoki"}])) == []
    assert resources.judge(a_patient(name=[{"family": "Berg"}, {"family": "Costa"}])) == []


def test_another_shape_is_judged_although_its_names_are_known() -> None:
    assert resources.judge(a_patient(active=True, name=[{"family": "Aoki"}])) == []
    assert resources.judge(a_patient(active=True, name={"family": "Aoki"})) != []
    assert resources.judge(a_patient(active=[True], name=[{"family": "Aoki"}])) != []


def test_a_refused_shape_is_refused_again() -> None:
    for _ in range(2):
        assert resources.judge(a_patient(nme="Aoki")) != []


def test_the_type_of_a_contained_resource_belongs_to_the_shape() -> None:
    contained = {"resourceType": "Organization", "name": "x"}
    assert resources.judge(a_patient(contained=[contained])) == []
    assert resources.judge(a_patient(contained=[{**contained, "resourceType": "Observation"}])) != []

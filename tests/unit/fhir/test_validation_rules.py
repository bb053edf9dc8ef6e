"""Rules that no FHIRPath engine judges: references, contained resources, narrative, Bundles, exceptions."""

from typing import Any

import pytest

from kanwa_shared.fhir.validation import validate

XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'


def _faults(tree: dict[str, Any]) -> list[tuple[str, str]]:
    return [(issue.code, issue.expression[0]) for issue in validate(tree)]


def _patient(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **members}


def _observation(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "pain"}, **members}


# References


@pytest.mark.parametrize(
    "reference",
    [
        "Patient/1",
        "Patient/1/_history/2",
        "https://ehr.example/fhir/Patient/1",
        "urn:uuid:87e11d66-c137-458a-9754-fe6c4e445a6d",
        "Patient?identifier=https://ehr.example|1",
        "https://ehr.example/people/1",
    ],
)
def test_a_subject_may_be_a_patient_or_unknown(reference: str) -> None:
    assert _faults(_observation(subject={"reference": reference})) == []


@pytest.mark.parametrize(
    "reference",
    [
        "Practitioner/1",
        "Practitioner/1/_history/2",
        "https://ehr.example/fhir/Practitioner/1",
        "Practitioner?identifier=1",
        "Patientt/1",
        "Patientt?identifier=1",
    ],
)
def test_a_subject_of_a_wrong_or_unknown_type_is_refused(reference: str) -> None:
    assert _faults(_observation(subject={"reference": reference})) == [("value", "Observation.subject")]


def test_the_type_of_a_reference_must_fit_its_element() -> None:
    logical = {"type": "Practitioner", "identifier": {"value": "1"}}
    assert _faults(_observation(subject=logical)) == [("value", "Observation.subject")]


def test_the_type_of_a_reference_must_agree_with_what_it_names() -> None:
    assert _faults(_observation(subject={"type": "Patient", "reference": "Group/1"})) == [
        ("value", "Observation.subject")
    ]


def test_a_contained_resource_of_a_wrong_type_is_refused() -> None:
    tree = _observation(contained=[{"resourceType": "Practitioner", "id": "p"}], subject={"reference": "#p"})
    assert _faults(tree) == [("value", "Observation.subject")]


# Contained resources


def test_a_contained_resource_may_be_used_by_a_canonical() -> None:
    tree = {
        "resourceType": "QuestionnaireResponse",
        "status": "completed",
        "contained": [{"resourceType": "Questionnaire", "id": "q", "status": "active"}],
        "questionnaire": "#q",
    }
    assert _faults(tree) == []


def test_a_contained_resource_may_be_used_by_another_or_refer_to_its_container() -> None:
    role = {"resourceType": "PractitionerRole", "id": "role", "practitioner": {"reference": "#gp"}}
    person = {"resourceType": "Practitioner", "id": "gp"}
    provenance = {
        "resourceType": "Provenance",
        "id": "source",
        "target": [{"reference": "#"}],
        "recorded": "2031-03-01T00:00:00Z",
        "agent": [{"who": {"reference": "#role"}}],
    }
    assert _faults(_observation(contained=[role, person, provenance])) == []


@pytest.mark.parametrize(
    ("inner", "rule"),
    [
        ({"contained": [{"resourceType": "Patient", "id": "q"}]}, "dom-2"),
        ({"meta": {"versionId": "1"}}, "dom-4"),
        ({"meta": {"lastUpdated": "2031-03-01T00:00:00Z"}}, "dom-4"),
        ({"meta": {"security": [{"code": "R"}]}}, "dom-5"),
    ],
)
def test_a_contained_resource_has_neither_life_nor_label_of_its_own(inner: dict[str, Any], rule: str) -> None:
    tree = _observation(
        contained=[{"resourceType": "Patient", "id": "p", **inner}], subject={"reference": "#p"}
    )
    assert any(rule in issue.diagnostics for issue in validate(tree))


def test_a_contained_resource_that_nothing_refers_to_is_refused() -> None:
    tree = _observation(contained=[{"resourceType": "Patient", "id": "p"}, {"resourceType": "Patient"}])
    assert _faults(tree) == [
        ("invariant", "Observation.contained[0]"),
        ("invariant", "Observation.contained[1]"),
    ]


def test_the_faults_of_a_contained_resource_have_its_place() -> None:
    tree = _observation(
        contained=[{"resourceType": "Patient", "id": "p", "gender": "x"}], subject={"reference": "#p"}
    )
    assert _faults(tree) == [("code-invalid", "Observation.contained[0].gender")]


# Elements that are there without a value


def test_an_extension_stands_for_a_required_value() -> None:
    absent = {
        "extension": [
            {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}
        ]
    }
    tree = _observation(_status=absent)
    del tree["status"]
    assert _faults(tree) == []


def test_an_id_alone_stands_for_nothing() -> None:
    assert _faults(_patient(_gender={"id": "g"})) == [("invariant", "Patient.gender")]
    assert _faults(_patient(contact=[{"id": "c"}]))[0] == ("invariant", "Patient.contact[0]")
    assert _faults(_patient(gender="male", _gender={"id": "g"})) == []


def test_arrays_of_values_and_extensions_must_be_as_long_as_each_other() -> None:
    name = {"given": ["春"], "_given": [None, {"id": "second"}]}
    assert ("structure", "Patient.name[0].given") in _faults(_patient(name=[name]))


# Narrative


def _narrative(div: str) -> list[tuple[str, str]]:
    return _faults(_patient(text={"status": "generated", "div": div}))


@pytest.mark.parametrize(
    "div",
    [
        f"<div {XHTML}>pain &amp; relief &#x7de9;</div>",
        f'<div {XHTML}><p class="x"><a href="https://kanwa.example">a</a><br/></p><!-- note --></div>',
        f'<div {XHTML} lang="ja" xml:lang="ja"><img src="#figure" alt="plexus"/></div>',
        '<h:div xmlns:h="http://www.w3.org/1999/xhtml"><h:b>x</h:b></h:div>',
        f"<div {XHTML}> </div>",
    ],
)
def test_a_plain_narrative_is_accepted(div: str) -> None:
    assert _narrative(div) == []


@pytest.mark.parametrize(
    "div",
    [
        f"<div {XHTML}><script>x</script></div>",
        f"<div {XHTML}><p onclick='x()'>x</p></div>",
        f"<div {XHTML}><iframe src='https://x.example'/></div>",
        f"<div {XHTML}><a href=' java\tscript:x()'>x</a></div>",
        f"<div {XHTML}><a href='&#106;avascript:x()'>x</a></div>",
        f"<div {XHTML}><svg xmlns='http://www.w3.org/2000/svg'/></div>",
        f"<div {XHTML}><style>p {{}}</style></div>",
        f"<div {XHTML}>&reg;</div>",
        f"<div {XHTML}><p>x</div>",
        f"<p {XHTML}>x</p>",
        "<div>x</div>",
        "text",
        f"<!DOCTYPE div [<!ENTITY a 'b'>]><div {XHTML}>&a;</div>",
        f"<div {XHTML}>x</div><div {XHTML}>y</div>",
    ],
)
def test_an_active_or_broken_narrative_is_refused(div: str) -> None:
    assert set(_narrative(div)) == {("invariant", "Patient.text.div")}


def test_entities_that_multiply_are_not_expanded() -> None:
    entities = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10 if n else 'x'}'>" for n in range(12))
    assert _narrative(f"<!DOCTYPE div [{entities}]><div {XHTML}>&e11;</div>") == [
        ("invariant", "Patient.text.div")
    ]


# Bundles and attachments


def _bundle(kind: str, *entries: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries), **members}


def test_faults_in_a_bundle_have_the_place_of_their_entry() -> None:
    tree = _bundle("collection", {"resource": _patient()}, {"resource": _patient(gender="x")})
    assert _faults(tree) == [("code-invalid", "Bundle.entry[1].resource.gender")]


def test_a_type_that_this_server_does_not_offer_is_named() -> None:
    tree = _bundle("collection", {"resource": {"resourceType": "MedicinalProduct"}})
    assert _faults(tree) == [("not-supported", "Bundle.entry[0].resource.resourceType")]


def test_what_is_read_has_absolute_urls_and_what_is_processed_need_not() -> None:
    assert _faults(_bundle("collection", {"fullUrl": "Patient/1", "resource": _patient()})) == [
        ("value", "Bundle.entry[0].fullUrl")
    ]
    request = {"method": "POST", "url": "Patient"}
    assert (
        _faults(_bundle("batch", {"fullUrl": "Patient/1", "resource": _patient(), "request": request})) == []
    )


def test_a_bundle_has_one_link_of_a_kind() -> None:
    links = [
        {"relation": "self", "url": "https://a.example"},
        {"relation": "self", "url": "https://b.example"},
    ]
    assert _faults(_bundle("searchset", {"resource": _patient()}, link=links)) == [("value", "Bundle.link")]


def test_the_sections_of_a_document_refer_to_what_it_holds() -> None:
    composition = {
        "resourceType": "Composition",
        "status": "final",
        "type": {"text": "summary"},
        "date": "2031-04-02",
        "author": [{"display": "kanwa"}],
        "title": "Summary",
        "section": [
            {"section": [{"entry": [{"reference": "Patient/1"}, {"reference": "Patient/1/_history/3"}]}]}
        ],
    }
    tree = _bundle(
        "document",
        {"fullUrl": "https://kanwa.example/fhir/Composition/1", "resource": composition},
        {"fullUrl": "https://kanwa.example/fhir/Patient/1", "resource": _patient(meta={"versionId": "2"})},
        identifier={"system": "urn:x", "value": "1"},
        timestamp="2031-04-02T00:00:00Z",
    )
    assert _faults(tree) == [("value", "Bundle.entry[0].resource.section[0].section[0].entry[1]")]


def test_the_size_of_an_attachment_counts_its_bytes() -> None:
    assert _faults(_patient(photo=[{"contentType": "image/png", "data": "AAAA", "size": 3}])) == []
    assert _faults(_patient(photo=[{"contentType": "image/png", "data": "AAAA", "size": 4}])) == [
        ("value", "Patient.photo[0].size")
    ]


# Constraints where kanwa departs from the letter of the expression


def _enable_when(**answer: Any) -> list[tuple[str, str]]:
    condition = {"question": "a", "operator": "exists", **answer}
    items = [{"linkId": "a", "type": "string"}, {"linkId": "b", "type": "string", "enableWhen": [condition]}]
    return _faults({"resourceType": "Questionnaire", "status": "active", "item": items})


def test_whether_an_answer_exists_is_answered_by_a_boolean() -> None:
    assert _enable_when(answerBoolean=True) == []
    assert _enable_when(answerString="yes") == [("invariant", "Questionnaire.item[1].enableWhen[0]")]


def _risk(prediction: dict[str, Any]) -> list[tuple[str, str]]:
    tree = {"resourceType": "RiskAssessment", "status": "final", "subject": {"reference": "Patient/1"}}
    return _faults({**tree, "prediction": [prediction]})


def test_a_probability_is_at_most_100_and_may_be_missing() -> None:
    assert _risk({"qualitativeRisk": {"text": "low"}}) == []
    assert _risk({"probabilityDecimal": 100}) == []
    assert _risk({"probabilityDecimal": 101}) == [("invariant", "RiskAssessment.prediction[0]")]


def _range(low: dict[str, Any], high: dict[str, Any]) -> list[tuple[str, str]]:
    return _faults(_observation(valueRange={"low": low, "high": high}))


def test_a_range_runs_upwards_and_only_one_unit_can_be_compared() -> None:
    unit = {"system": "http://unitsofmeasure.org", "code": "mg"}
    assert _range({"value": 1, **unit}, {"value": 1, **unit}) == []
    assert _range({"value": 2, **unit}, {"value": 1, **unit}) == [("invariant", "Observation.value")]
    assert _range({"value": 2, "unit": "mg"}, {"value": 1, "unit": "g"}) == []


def _care_team(member: str) -> list[tuple[str, str]]:
    contained = [{"resourceType": "Practitioner", "id": "gp"}, {"resourceType": "Patient", "id": "p"}]
    others = [{"member": {"reference": "#gp"}}, {"member": {"reference": "#p"}}]
    participant = {"member": {"reference": member}, "onBehalfOf": {"reference": "Organization/1"}}
    return _faults(
        {"resourceType": "CareTeam", "contained": contained, "participant": [participant, *others]}
    )


def test_only_a_practitioner_acts_on_behalf_of_an_organization() -> None:
    assert _care_team("#gp") == []
    assert _care_team("Practitioner/elsewhere") == []
    assert _care_team("#p") == [("invariant", "CareTeam.participant[0]")]


def test_a_code_system_has_each_code_once_at_any_depth() -> None:
    def faults(inner: str) -> list[tuple[str, str]]:
        concepts = [{"code": "a", "concept": [{"code": "b", "concept": [{"code": inner}]}]}]
        return _faults(
            {"resourceType": "CodeSystem", "status": "draft", "content": "complete", "concept": concepts}
        )

    assert faults("c") == []
    assert faults("a") == [("invariant", "CodeSystem")]
    assert faults("b") == [("invariant", "CodeSystem")]


@pytest.mark.parametrize(
    ("maximum", "kept"), [("*", True), ("0", True), ("12", True), ("-1", False), ("x", False)]
)
def test_the_maximum_of_an_element_is_a_number_or_a_star(maximum: str, kept: bool) -> None:
    element = {"id": "Patient.name", "path": "Patient.name", "max": maximum}
    tree = {
        "resourceType": "StructureDefinition",
        "url": "https://kanwa.example/fhir/StructureDefinition/x",
        "name": "X",
        "status": "draft",
        "kind": "resource",
        "abstract": False,
        "type": "Patient",
        "derivation": "constraint",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient",
        "differential": {"element": [{"id": "Patient", "path": "Patient"}, element]},
    }
    assert (_faults(tree) == []) is kept


@pytest.mark.parametrize(
    ("start", "end", "kept"),
    [
        ("2031-03", "2031-03-10", True),  # the month may have begun before
        ("2031-03-10", "2031-03", True),  # the month may end after
        ("2031-04", "2031-03-10", False),
        ("2031-03-01T00:00:00+09:00", "2031-02-28T15:00:00Z", True),
        ("2031-03-01T00:00:00Z", "2031-02-28T23:59:59Z", False),
        ("2031-03-01T00:00:00.5Z", "2031-03-01T00:00:00Z", True),  # within that second
    ],
)
def test_a_period_is_refused_only_when_it_surely_ends_before_it_starts(
    start: str, end: str, kept: bool
) -> None:
    assert (_faults(_observation(effectivePeriod={"start": start, "end": end})) == []) is kept

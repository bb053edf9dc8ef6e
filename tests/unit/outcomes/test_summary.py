"""The summary for the referrer (behaviour 31) and the derived Observation, as valid R4."""

from base64 import b64decode
from datetime import timedelta
from typing import Any

import fhirkit
import pytest

from kanwa_outcomes.domain.adverse_events import adverse_event_lines
from kanwa_outcomes.domain.closure import closes_at
from kanwa_outcomes.domain.derived_observation import derived_id, derived_observation
from kanwa_outcomes.domain.findings import derive
from kanwa_outcomes.domain.summary import Report, length_of_stay, summary_document, summary_id
from kanwa_shared.clinical.catalogue import catalogue, measures
from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.fhir.validation import validate
from tests.support.outcomes import ENDED, course, day, performed, values

Tree = dict[str, Any]


def report(code: str = "vertebroplasty", *pairs: tuple[float, float], **more: Any) -> Report:
    around = course(values(*pairs, measure=catalogue()[code].primary_measure), code=code, now=day(400))
    return Report(
        performed(code), around, derive(around), **{"adverse_events": (), "length_of_stay": None, **more}
    )


def words(document: Tree) -> str:
    return b64decode(document["content"][0]["attachment"]["data"]).decode()


@pytest.mark.parametrize("code", list(catalogue()))
@pytest.mark.parametrize("measured", [True, False])
def test_summary_and_derived_observations_of_every_procedure_are_valid_r4(code: str, measured: bool) -> None:
    primary_day = catalogue()[code].follow_up.primary_day
    around = report(code, *([(-1, 1), (primary_day, 0)] if measured else []))
    assert around.outcome is not None
    trees = [derived_observation(around.performed, finding) for finding in around.outcome.findings]
    trees.append(summary_document(around, "ServiceRequest/r"))
    assert len(trees) > 1
    for tree in trees:
        assert validate(tree, dumps(tree)) == []
        assert fhirkit.validate(dumps(tree)) == []


def test_the_summary_tells_procedure_result_values_adverse_events_and_length_of_stay() -> None:
    text = words(
        summary_document(
            report("vertebroplasty", (-1, 8), (1, 6), (7, 3), adverse_events=("Bleeding (Mild)",)), "r"
        )
    )
    assert "Procedure: Percutaneous vertebroplasty (Procedure/x)" in text
    assert "Result: Significantly effective (SE), judged for day 7" in text
    assert "before: 8" in text
    assert "day 1: 6" in text
    assert "day 7: 3" in text
    assert "Adverse events: Bleeding (Mild)" in text
    assert "Length of stay: ask site" in text


def test_the_summary_tells_the_complications_that_the_procedure_names() -> None:
    leak = performed(complication=[{"text": "Cement leak, no symptoms"}])
    assert "Complications: Cement leak, no symptoms" in words(
        summary_document(Report(leak, None, None, (), None), "r")
    )


def test_the_summary_says_not_evaluable_and_why() -> None:
    text = words(summary_document(report("vertebroplasty", (-1, 8)), "r"))
    assert "Not evaluable (NA)" in text
    assert "not measured" in text


def test_a_measured_change_is_told_with_its_sign_and_unit() -> None:
    text = words(summary_document(report("biliary-stent", (-1, 14.2), (14, 6.1)), "r"))
    assert "change of -8.1 mg/dL, planned for day 14" in text


def test_a_procedure_outside_the_catalogue_is_summarised_without_a_result() -> None:
    text = words(summary_document(Report(performed(), None, None, (), "2 d"), "r"))
    assert "Result: not evaluable" in text
    assert "Length of stay: 2 d" in text


def test_the_same_facts_give_the_same_summary_and_ids() -> None:
    one, other = report("vertebroplasty", (-1, 8), (7, 3)), report("vertebroplasty", (-1, 8), (7, 3))
    assert summary_document(one, "r") == summary_document(other, "r")
    assert summary_id(one.performed) == summary_id(other.performed)
    assert one.outcome is not None
    assert other.outcome is not None
    ids = {derived_id(r.performed, f) for r in (one, other) if r.outcome for f in r.outcome.findings}
    assert len(ids) == len(one.outcome.findings)


def test_a_derived_observation_names_both_inputs_procedure_request_and_time() -> None:
    around = report("vertebroplasty", (-1, 8), (7, 3))
    assert around.outcome is not None
    tree = derived_observation(around.performed, around.outcome.findings[0])
    assert tree["valueCodeableConcept"]["coding"][0]["code"] == "SE"
    assert tree["derivedFrom"] == [{"reference": "Observation/o0"}, {"reference": "Observation/o1"}]
    assert tree["partOf"] == [{"reference": "Procedure/x"}]
    assert tree["basedOn"] == [{"reference": "ServiceRequest/r"}]
    assert tree["effectiveDateTime"].startswith(day(7).isoformat()[:19])
    assert tree["status"] == "final"


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (("final", "amended"), "amended"),
        (("corrected", "final"), "amended"),
        (("amended", "preliminary"), "preliminary"),
    ],
)
def test_a_derived_observation_is_as_sure_as_its_inputs(statuses: tuple[str, str], expected: str) -> None:
    observations = values((-1, 8), (7, 3))
    for (_, tree), status in zip(observations, statuses, strict=True):
        tree["status"] = status
    around = course(observations)
    assert derived_observation(performed(), derive(around).findings[0])["status"] == expected


def event(actuality: str = "actual", **more: Any) -> Tree:
    return {
        "resourceType": "AdverseEvent",
        "actuality": actuality,
        "event": {"text": "Puncture-site bleed"},
        **more,
    }


def test_adverse_events_that_happened_after_the_start_are_told_with_severity_and_date() -> None:
    severe = event(
        severity={"coding": [{"code": "severe", "display": "Severe"}]}, date=day(1).date().isoformat()
    )
    lines = adverse_event_lines(performed(), [("AdverseEvent/a", severe)])
    assert lines == (f"Puncture-site bleed (Severe, {day(1).date().isoformat()})",)


def test_events_that_might_have_happened_or_belong_elsewhere_are_not_told() -> None:
    elsewhere = {"suspectEntity": [{"instance": {"reference": "Procedure/other"}}]}
    events = [
        ("AdverseEvent/a", event("potential")),
        ("AdverseEvent/b", event(date=day(-3).date().isoformat())),
        ("AdverseEvent/c", event(**elsewhere)),
    ]
    assert adverse_event_lines(performed(), events) == ()


def test_an_event_that_suspects_the_procedure_is_told_whatever_its_date() -> None:
    here = {"suspectEntity": [{"instance": {"reference": "Procedure/x"}}]}
    assert adverse_event_lines(performed(), [("AdverseEvent/a", event(**here))]) == ("Puncture-site bleed",)


@pytest.mark.parametrize(
    ("encounter", "expected"),
    [
        (None, None),
        ({}, None),
        ({"period": {"start": "2026-03-01"}}, None),
        ({"period": {"start": "2026-03-01T10:00:00Z", "end": "2026-03-04T09:00:00Z"}}, "3 d"),
        ({"length": {"value": 2, "unit": "d"}}, "2 d"),
    ],
)
def test_the_length_of_stay_is_the_encounters_or_unknown(
    encounter: Tree | None, expected: str | None
) -> None:
    assert length_of_stay(encounter) == expected


def test_a_loop_closes_at_the_end_of_its_window_or_when_patience_ends() -> None:
    two_days = timedelta(days=2)
    assert closes_at(performed(), ENDED, two_days) == day(10.5)
    assert closes_at(performed(), day(300), two_days) == day(302)


def test_the_measures_of_the_summary_are_those_of_the_procedure() -> None:
    text = words(summary_document(report("paracentesis", (-1, 7), (7, 3)), "r"))
    assert measures()["ascites-distension"].display in text

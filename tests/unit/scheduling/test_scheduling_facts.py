"""What scheduling reads in resources."""

from datetime import UTC, datetime, timedelta

import pytest

from kanwa_scheduling.domain.calendars import TeamRole
from kanwa_scheduling.domain.facts import (
    interval_of,
    period_of,
    procedure_code,
    referral_ids,
    schedule_facts,
    slot_window,
    wanted_team,
)
from kanwa_scheduling.domain.interval import Interval
from kanwa_scheduling.domain.references import reference_id, relative
from kanwa_shared.clinical.codes import IR_PROCEDURE, TEAM_ROLE

EIGHT = datetime(2026, 3, 2, 8, tzinfo=UTC)


def concept(system: str, *codes: str) -> dict[str, object]:
    return {"coding": [{"system": system, "code": code} for code in codes]}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("ServiceRequest/1", "1"),
        ("ServiceRequest/1/_history/2", "1"),
        ("https://ehr.example/fhir/ServiceRequest/1", "1"),
        ("Task/1", None),
        ("1", None),
        ("urn:uuid:0b0f1a7e-1f8e-4d70-9d8b-0f2f6d1f0a11", None),
        ("#contained", None),
        ("", None),
        (None, None),
    ],
)
def test_an_id_is_read_from_any_literal_reference_of_the_type(
    reference: str | None, expected: str | None
) -> None:
    assert reference_id(reference, "ServiceRequest") == expected


def test_a_relative_reference_has_neither_base_nor_version() -> None:
    assert relative("https://ehr.example/fhir/Location/suite/_history/3") == "Location/suite"


def test_a_referral_named_twice_counts_once() -> None:
    based_on = [
        "ServiceRequest/a",
        "CarePlan/x",
        "https://h.example/fhir/ServiceRequest/a",
        "ServiceRequest/b",
    ]
    assert referral_ids({"basedOn": [{"reference": r} for r in based_on] + [{"display": "by phone"}]}) == (
        "a",
        "b",
    )


def test_an_interval_is_of_instants_whatever_their_offsets() -> None:
    found = interval_of({"start": "2026-03-02T17:00:00+09:00", "end": "2026-03-02T09:00:00Z"})
    assert found == Interval(EIGHT, EIGHT + timedelta(hours=1))


@pytest.mark.parametrize(
    "resource",
    [
        {},
        {"start": "2026-03-02T08:00:00Z"},
        {"start": "2026-03-02T08:00:00Z", "end": "2026-03-02T08:00:00Z"},
        {"start": "2026-03-02T09:00:00Z", "end": "2026-03-02T08:00:00Z"},
    ],
    ids=["neither", "no end", "empty", "reversed"],
)
def test_what_spans_no_time_is_no_interval(resource: dict[str, str]) -> None:
    assert interval_of(resource) is None


def test_a_period_without_an_end_is_open_and_a_date_is_its_whole_day() -> None:
    whole = period_of({"start": "2026-03-02", "end": "2026-03-03"})
    assert whole == Interval(datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC))
    opened = period_of({"start": "2026-03-02"})
    assert opened is not None
    assert opened.end.year == 9999
    assert period_of(None) is None


def test_the_catalogue_code_is_found_among_codings_of_other_systems() -> None:
    concepts = [
        concept("http://snomed.info/sct", "392010000"),
        concept(IR_PROCEDURE, "vertebroplasty"),
    ]
    assert procedure_code(concepts) == "vertebroplasty"
    assert procedure_code([{"text": "cement for L2"}]) is None


def test_a_schedule_is_read_with_its_skills_roles_and_horizon() -> None:
    facts = schedule_facts(
        {
            "resourceType": "Schedule",
            "actor": [
                {"reference": "https://h.example/fhir/PractitionerRole/o"},
                {"reference": "Location/site"},
            ],
            "serviceType": [concept(IR_PROCEDURE, "tips"), concept("urn:other", "x")],
            "serviceCategory": [concept(TEAM_ROLE, "operator")],
            "planningHorizon": {"start": "2026-03-02T08:00:00Z", "end": "2026-03-02T08:59:59.999Z"},
        },
        "s",
    )
    assert facts.active
    assert facts.subjects == ("PractitionerRole/o",)
    assert facts.places == frozenset({"Location/site"})
    assert facts.procedures == frozenset({"tips"})
    assert facts.role_of("PractitionerRole/o") is TeamRole.OPERATOR
    assert facts.horizon == Interval(EIGHT, EIGHT + timedelta(hours=1))


def test_a_slot_of_no_schedule_here_has_no_place_in_a_calendar() -> None:
    slot = {
        "status": "free",
        "schedule": {"reference": "Schedule/s"},
        "start": "2026-03-02T08:00:00Z",
        "end": "2026-03-02T09:00:00Z",
    }
    window = slot_window(slot, "x")
    assert window is not None
    assert (window.schedule_id, window.status) == ("s", "free")
    assert slot_window({**slot, "schedule": {"display": "paper"}}, "x") is None
    assert slot_window({**slot, "end": slot["start"]}, "x") is None


def test_a_team_is_suite_and_operator_and_what_the_referral_names() -> None:
    assert wanted_team({}) == (TeamRole.SUITE, TeamRole.OPERATOR)
    asked = {
        "orderDetail": [concept(TEAM_ROLE, "anaesthesia")],
        "performerType": concept("urn:x", "nurse"),
    }
    assert wanted_team(asked) == (TeamRole.SUITE, TeamRole.OPERATOR, TeamRole.ANAESTHESIA)

"""Every event of the loop in words."""

import json

import pytest

from kanwa_mdt.domain.timeline import describe
from kanwa_mdt.domain.wording import unit_words
from kanwa_shared.fhir.validation import RESOURCE_TYPES
from tests.support.mdt_cases import EventSource, Referral, whole_loop


def test_the_loop_reads_as_a_story() -> None:
    titles = [
        describe(e.resource_type, e.version, json.loads(e.body or b"{}"))[0]
        for e in whole_loop(Referral(EventSource(), "a"))
    ]
    story = [
        "Referral received",
        "Coordination: Awaiting the MDT",
        "MDT asked",
        "MDT decided: recommended",
        "Coordination: Referral accepted",
        "Appointment booked",
        "Procedure prepared",
        "Procedure started",
        "Procedure completed",
        "Follow-up planned",
        "Pain, 0-10: 3",
        "Outcome derived: Significantly effective",
        "Summary sent to the referrer",
        "Coordination: Referral completed",
        "Referral changed: completed",
    ]
    positions = [titles.index(title) for title in story]
    assert positions == sorted(positions)


@pytest.mark.parametrize("resource_type", sorted(RESOURCE_TYPES))
def test_every_type_has_words_also_when_it_says_nothing(resource_type: str) -> None:
    assert all(isinstance(text, str) for text in describe(resource_type, 1, {"resourceType": resource_type}))
    assert "deleted" in describe(resource_type, 2, None)[0]


@pytest.mark.parametrize(
    ("unit", "shown"),
    [
        ("{episodes}", "episodes"),
        ("{score}", ""),
        ("mg/dL", "mg/dL"),
        ("mL/min/{1.73_m2}", "mL/min/1.73 m²"),
        ("{a}/{b}", "{a}/{b}"),
    ],
)
def test_an_annotation_that_is_the_whole_unit_is_shown_as_words(unit: str, shown: str) -> None:
    assert unit_words(unit) == shown

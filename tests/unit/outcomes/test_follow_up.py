"""The follow-up Tasks that a completed procedure plans."""

from typing import Any

import pytest

from kanwa_outcomes.domain.follow_up import after_facts, called_off, follow_up_id, planned_tasks
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import catalogue
from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.fhir.validation import validate
from tests.support.outcomes import ENDED, course, day, performed, text, values

Tree = dict[str, Any]


def planned(code: str = "vertebroplasty") -> dict[str, Tree]:
    return dict(planned_tasks(performed(code), now=ENDED))


def inputs(task: Tree, code: str) -> list[Tree]:
    return [i for i in task["input"] if codes.has_coding(i["type"], codes.TASK_INPUT, code)]


@pytest.mark.parametrize("code", list(catalogue()))
def test_every_planned_day_has_one_valid_task_that_says_when_and_what(code: str) -> None:
    entry, tasks = catalogue()[code], planned(code)
    assert list(tasks) == [follow_up_id(performed(code), number) for number in entry.follow_up_days]
    for number, task in zip(entry.follow_up_days, tasks.values(), strict=True):
        assert validate(task, dumps(task)) == []
        assert codes.has_coding(task["code"], codes.TASK, "follow-up")
        assert task["focus"] == {"reference": "Procedure/x"}
        assert task["basedOn"] == [{"reference": "ServiceRequest/r"}]
        assert task["for"] == {"reference": "Patient/p"}
        due = task["restriction"]["period"]["end"]
        assert due.removesuffix("Z").removesuffix(".000") == text(day(number)).removesuffix("Z")
        assert [i["valueCodeableConcept"]["coding"] for i in inputs(task, "measure")] == [
            measure.codings() for measure in entry.follow_up.measures
        ]
        assert inputs(task, "day")[0]["valueInteger"] == number
        assert inputs(task, "primary")[0]["valueBoolean"] == (number == entry.follow_up.primary_day)


def test_planning_twice_gives_the_same_tasks() -> None:
    assert planned() == planned()


def test_nothing_is_planned_without_the_time_of_the_procedure() -> None:
    unknown = performed(performedPeriod={}, performedString="last spring")
    assert list(planned_tasks(unknown, now=ENDED)) == []


def test_a_measurement_in_its_window_completes_the_task() -> None:
    done, tasks = performed(), planned()
    task = tasks[follow_up_id(done, 7)]
    after = after_facts(task, task, course(values((-1, 8), (7, 3))), 7, now=day(8))
    assert after is not None
    assert after["status"] == "completed"
    assert after["output"][0]["valueReference"] == {"reference": "Observation/o1"}
    assert validate(after, dumps(after)) == []


def test_a_measurement_of_another_day_leaves_the_task_open() -> None:
    task = planned()[follow_up_id(performed(), 28)]
    assert after_facts(task, task, course(values((-1, 8), (7, 3))), 28, now=day(8)) is None


@pytest.mark.parametrize("status", ["completed", "cancelled", "rejected", "failed", "entered-in-error"])
def test_a_task_that_is_closed_stays_as_it_is(status: str) -> None:
    task = planned()[follow_up_id(performed(), 7)]
    closed = {**task, "status": status}
    assert after_facts(closed, task, course(values((-1, 8), (7, 3))), 7, now=day(8)) is None


def test_a_corrected_time_of_the_procedure_moves_the_task() -> None:
    task = planned()[follow_up_id(performed(), 7)]
    moved = {**task, "restriction": {"period": {"start": text(day(0)), "end": text(day(6))}}}
    after = after_facts(moved, task, course(values((-1, 8))), 7, now=day(1))
    assert after is not None
    assert after["restriction"] == task["restriction"]
    assert after["status"] == "requested"


def test_a_procedure_entered_in_error_calls_its_tasks_off_with_a_reason() -> None:
    task = called_off(planned()[follow_up_id(performed(), 7)], now=day(1))
    assert task["status"] == "cancelled"
    assert task["statusReason"]["text"]
    assert validate(task, dumps(task)) == []

"""The coordination Task follows the facts, in whatever order they came."""

import json
from datetime import UTC, datetime
from itertools import permutations
from typing import Any

import pytest

from kanwa_intake.domain.decision import coordination_after, read_decision
from kanwa_intake.domain.progress import Facts, advance
from kanwa_shared.clinical import codes
from kanwa_shared.errors import BusinessRule
from kanwa_shared.store.stored import StoredResource

NOW = "2026-11-25T08:00:00.000Z"


def stored(resource_type: str, id: str, **members: Any) -> StoredResource:
    body = json.dumps({"resourceType": resource_type, "id": id, **members}).encode()
    return StoredResource(resource_type, id, 1, datetime(2026, 11, 25, tzinfo=UTC), "create", body)


def a_task(status: str = "accepted") -> dict[str, Any]:
    return {"resourceType": "Task", "status": status, "businessStatus": codes.business_status("3.0")}


def appointment(status: str, id: str = "a") -> StoredResource:
    return stored("Appointment", id, status=status)


def procedure(status: str, id: str = "p", **members: Any) -> StoredResource:
    return stored("Procedure", id, status=status, **members)


SUMMARY = stored("DocumentReference", "d")


@pytest.mark.parametrize(
    ("facts", "status", "business"),
    [
        (Facts([appointment("booked")], [], []), "accepted", "5.1.1"),
        (Facts([appointment("noshow")], [], []), "accepted", "5.1.2"),
        (Facts([appointment("cancelled")], [], []), "accepted", "5.1.3"),
        (Facts([appointment("cancelled"), appointment("booked", "b")], [], []), "accepted", "5.1.1"),
        (Facts([appointment("arrived")], [procedure("in-progress")], []), "in-progress", "5.1.1"),
        (Facts([appointment("fulfilled")], [procedure("completed")], []), "in-progress", "5.1.4"),
        (Facts([appointment("fulfilled")], [procedure("completed")], [SUMMARY]), "completed", "7.0"),
        (Facts([appointment("cancelled")], [procedure("not-done")], []), "failed", "5.1.3"),
    ],
    ids=["booked", "no-show", "cancelled", "rebooked", "started", "done", "closed", "not-done"],
)
def test_the_task_says_what_the_facts_say(facts: Facts, status: str, business: str) -> None:
    task = advance(a_task(), facts, now=NOW)
    assert task is not None
    assert task["status"] == status
    assert codes.has_coding(task["businessStatus"], codes.BUSINESS_STATUS, business)
    assert task["lastModified"] == NOW


def test_nothing_changes_when_the_task_says_so_already() -> None:
    facts = Facts([appointment("booked")], [], [])
    once = advance(a_task(), facts, now=NOW)
    assert once is not None
    assert advance(once, facts, now=NOW) is None


def test_any_order_of_arrival_ends_the_same() -> None:
    steps = [
        lambda f: Facts([appointment("fulfilled")], f.procedures, f.summaries),
        lambda f: Facts(f.appointments, [procedure("completed")], f.summaries),
        lambda f: Facts(f.appointments, f.procedures, [SUMMARY]),
    ]
    ends = []
    for order in permutations(steps):
        task, facts = a_task(), Facts([], [], [])
        for step in order:
            facts = step(facts)
            task = advance(task, facts, now=NOW) or task
        ends.append(json.dumps(task, sort_keys=True))
    assert len(set(ends)) == 1
    assert '"completed"' in ends[0]


@pytest.mark.parametrize("status", ["rejected", "cancelled", "failed", "completed", "requested", "received"])
def test_a_closed_or_undecided_task_is_not_moved(status: str) -> None:
    assert advance(a_task(status), Facts([], [procedure("completed")], [SUMMARY]), now=NOW) is None


def test_a_failed_task_gives_the_procedures_reason() -> None:
    reason = {"text": "patient too ill"}
    task = advance(a_task(), Facts([], [procedure("not-done", statusReason=reason)], []), now=NOW)
    assert task is not None
    assert task["statusReason"] == reason


def a_decision(*outputs: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Task", "status": "completed", "output": list(outputs)}


def output(kind: str, **value: Any) -> dict[str, Any]:
    return {"type": codes.concept(codes.TASK_OUTPUT, kind), **value}


def decided(code: str) -> dict[str, Any]:
    return output("decision", valueCodeableConcept=codes.concept(codes.MDT_DECISION, code))


RATIONALE = output("rationale", valueString="because")


@pytest.mark.parametrize(
    ("task", "faults"),
    [
        (a_decision(), 2),
        (a_decision(RATIONALE), 1),
        (a_decision(decided("recommended")), 1),
        (a_decision(decided("perhaps"), RATIONALE), 1),
        (a_decision(decided("recommended"), decided("deferred"), RATIONALE), 1),
    ],
    ids=["nothing", "no decision", "no rationale", "unknown decision", "two decisions"],
)
def test_a_decision_without_its_parts_is_refused_with_an_issue_for_each(
    task: dict[str, Any], faults: int
) -> None:
    with pytest.raises(BusinessRule) as refused:
        read_decision(task)
    assert len(refused.value.issues) == faults
    assert {issue.expression for issue in refused.value.issues} == {("Task.output",)}


@pytest.mark.parametrize(
    ("decision", "status", "business"),
    [
        ("recommended", "accepted", "3.0"),
        ("not-indicated", "rejected", "4.0"),
        ("alternative", "rejected", "4.0"),
        ("deferred", "received", "deferred"),
    ],
)
def test_the_decision_moves_the_coordination_task(decision: str, status: str, business: str) -> None:
    read = read_decision(a_decision(decided(decision), RATIONALE))
    after = coordination_after(a_task("received"), read, now=NOW)
    assert after is not None
    assert after["status"] == status
    assert codes.has_coding(after["businessStatus"], codes.BUSINESS_STATUS, business)
    assert ("statusReason" in after) == (status == "rejected")


def test_the_review_of_an_emergency_moves_nothing() -> None:
    read = read_decision(a_decision(decided("not-indicated"), RATIONALE))
    assert coordination_after(a_task("in-progress"), read, now=NOW) is None

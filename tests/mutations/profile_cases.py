"""What conforms to kanwa's profiles, written by its own code, and what breaks each of their rules."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from kanwa_intake.domain.coordination import (
    answered,
    coordination_task,
    mdt_task,
    missing_information_task,
)
from kanwa_intake.domain.decision import DECISIONS
from kanwa_outcomes.domain.derived_observation import derived_observation
from kanwa_outcomes.domain.findings import derive
from kanwa_outcomes.domain.follow_up import after_facts, planned_tasks
from kanwa_scheduling.domain.proposal import prepared_procedure
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import catalogue
from kanwa_shared.clinical.urgency import UrgencyLimits
from tests.support.outcomes import ENDED, course, day, observation, performed, procedure, request, values

Tree = dict[str, Any]
NOW = datetime(2031, 3, 1, 9, tzinfo=UTC)
BASE = f"{codes.CANONICAL}/StructureDefinition/"
REFERRAL = request() | {"priority": "urgent", "requester": {"reference": "PractitionerRole/ito"}}
OWNER = {"reference": "Organization/ir"}
_OUTPUT = f"{codes.CANONICAL}/CodeSystem/task-output"


def coordination(**more: Any) -> Tree:
    """The coordination Task of a referral."""
    task = coordination_task(
        "ServiceRequest/r",
        REFERRAL | more,
        waits_for="awaiting-mdt",
        owner=OWNER,
        now=NOW,
        limits=UrgencyLimits(),
    )
    return {**task, "id": "c"}


def mdt(**more: Any) -> Tree:
    """The MDT Task of a referral."""
    return mdt_task("ServiceRequest/r", "Task/c", REFERRAL | more, owner=OWNER, now=NOW)


def _output(code: str, **value: Any) -> Tree:
    return {"type": codes.concept(_OUTPUT, code), **value}


def decided(decision: str = "recommended") -> Tree:
    """The MDT Task, completed."""
    concept = codes.concept(codes.MDT_DECISION, decision)
    return mdt() | {
        "status": "completed",
        "output": [
            _output("decision", valueCodeableConcept=concept),
            _output("rationale", valueString="Pain despite opioids"),
            _output("participant", valueReference={"reference": "PractitionerRole/s"}),
            _output("participant", valueReference={"reference": "PractitionerRole/t"}),
        ],
    }


def missing() -> Tree:
    """The Task that asks for an INR."""
    return missing_information_task(
        "ServiceRequest/r", "Task/c", REFERRAL, item=codes.loinc(codes.INR), reason="bleeding risk", now=NOW
    )


def follow_ups(code: str = "vertebroplasty") -> list[Tree]:
    """The follow-up Tasks of a procedure."""
    return [task for _, task in planned_tasks(performed(code), now=ENDED)]


def _answered_follow_up() -> Tree:
    task = follow_ups()[1]
    after = after_facts(task, task, course(values((-1, 8), (7, 3))), 7, now=day(8))
    assert after is not None
    return after


def _derived() -> list[Tree]:
    found = derive(course(values((-1, 8), (7, 3), (28, 2)))).findings
    return [derived_observation(performed(), finding) for finding in found]


def pain(**more: Any) -> Tree:
    """A pain score of 7."""
    return observation(7, NOW, **more)


CONFORMING: dict[str, Callable[[], list[Tree]]] = {
    "referral": lambda: [REFERRAL],
    "coordination-task": lambda: [coordination(), coordination(priority="stat")],
    "mdt-task": lambda: [mdt(), mdt(priority="stat"), *map(decided, DECISIONS)],
    "missing-information-task": lambda: [missing(), answered(missing(), output="Observation/i", now=NOW)],
    "follow-up-task": lambda: [
        *(t for code in catalogue() for t in follow_ups(code)),
        _answered_follow_up(),
    ],
    "ir-procedure": lambda: [procedure(), prepared_procedure(REFERRAL, {"participant": []})],
    "pain-observation": lambda: [
        pain(),
        {key: value for key, value in pain().items() if key != "valueQuantity"} | {"valueInteger": 10},
        observation(None, NOW, dataAbsentReason={"text": "asleep"}),
    ],
    "derived-outcome": _derived,
}


def without(tree: Tree, *names: str) -> Tree:
    """The tree without these members."""
    return {name: value for name, value in tree.items() if name not in names}


def _with_output(task: Tree, *outputs: Tree) -> Tree:
    return {**task, "output": list(outputs)}


_D = decided()["output"]
QUANTITY = pain()["valueQuantity"]
_SE = next(
    tree
    for tree in _derived()
    if codes.codes_of(tree.get("valueCodeableConcept", {}), codes.JIVROSG_RESPONSE)
)
BREAKING: list[tuple[str, Tree, tuple[str, str]]] = [
    ("referral", REFERRAL | {"intent": "proposal"}, ("invariant", "ServiceRequest")),
    ("referral", without(REFERRAL, "code"), ("required", "ServiceRequest.code")),
    ("referral", REFERRAL | {"subject": {"reference": "Group/g"}}, ("value", "ServiceRequest.subject")),
    ("coordination-task", without(coordination(), "focus"), ("required", "Task.focus")),
    ("coordination-task", coordination() | {"intent": "plan"}, ("value", "Task.intent")),
    (
        "coordination-task",
        coordination() | {"restriction": {"repetitions": 1}},
        ("required", "Task.restriction.period"),
    ),
    (
        "coordination-task",
        coordination() | {"businessStatus": {"text": "2.0"}},
        ("code-invalid", "Task.businessStatus"),
    ),
    ("coordination-task", coordination() | {"status": "rejected"}, ("invariant", "Task")),
    ("coordination-task", mdt() | {"restriction": coordination()["restriction"]}, ("value", "Task.code")),
    ("mdt-task", _with_output(decided(), _D[0]), ("invariant", "Task")),
    ("mdt-task", _with_output(decided(), _D[1]), ("invariant", "Task")),
    (
        "mdt-task",
        _with_output(mdt(), _output("rationale", valueInteger=1)),
        ("structure", "Task.output[0].value"),
    ),
    ("mdt-task", _with_output(mdt(), _D[0], _D[0]), ("structure", "Task.output")),
    (
        "mdt-task",
        _with_output(mdt(), _output("decision", valueCodeableConcept={"text": "yes"})),
        ("code-invalid", "Task.output[0].value"),
    ),
    (
        "mdt-task",
        _with_output(mdt(), _output("participant", valueReference={"reference": "Device/d"})),
        ("value", "Task.output[0].value"),
    ),
    ("missing-information-task", without(missing(), "description"), ("required", "Task.description")),
    ("missing-information-task", missing() | {"input": [_D[1]]}, ("required", "Task.input")),
    ("follow-up-task", follow_ups()[0] | {"focus": {"reference": "Task/t"}}, ("value", "Task.focus")),
    ("ir-procedure", procedure(status="stopped"), ("invariant", "Procedure")),
    ("ir-procedure", without(procedure(), "performedPeriod"), ("invariant", "Procedure")),
    ("ir-procedure", procedure() | {"code": {"text": "tips"}}, ("code-invalid", "Procedure.code")),
    ("ir-procedure", without(procedure(), "basedOn"), ("required", "Procedure.basedOn")),
    ("pain-observation", pain(valueQuantity=QUANTITY | {"value": 11}), ("invariant", "Observation")),
    (
        "pain-observation",
        without(pain(), "valueQuantity") | {"valueInteger": -1},
        ("invariant", "Observation"),
    ),
    ("pain-observation", pain(valueQuantity=QUANTITY | {"code": "mg"}), ("invariant", "Observation")),
    ("pain-observation", pain(valueQuantity=QUANTITY | {"comparator": ">"}), ("invariant", "Observation")),
    (
        "pain-observation",
        without(pain(), "valueQuantity") | {"valueString": "7"},
        ("structure", "Observation.value"),
    ),
    ("pain-observation", without(pain(), "effectiveDateTime"), ("required", "Observation.effective")),
    ("derived-outcome", without(_SE, "derivedFrom"), ("invariant", "Observation")),
    ("derived-outcome", without(_SE, "valueCodeableConcept"), ("invariant", "Observation")),
    (
        "derived-outcome",
        _SE | {"valueCodeableConcept": codes.concept(codes.BLEEDING_CONTROL, "rebleeding")},
        ("invariant", "Observation"),
    ),
]

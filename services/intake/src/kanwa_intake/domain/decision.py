"""The MDT's decision as it stands in the output of a completed `approve` Task."""

from dataclasses import dataclass
from typing import Any, Final

from kanwa_shared.clinical import codes
from kanwa_shared.errors import BusinessRule, Issue
from kanwa_shared.fhir.json_types import Tree

DECISIONS: Final = ("recommended", "alternative", "deferred", "not-indicated")


@dataclass(frozen=True, slots=True)
class Decision:
    """What the team decided, why, and who took part (references)."""

    decision: str
    rationale: str
    participants: tuple[Tree, ...]


def is_decision_task(task: Tree) -> bool:
    """Whether the Task asks the MDT to approve a referral."""
    # A Task without a coordination Task is somebody else's approval.
    return (
        _has_code(task.get("code", {}), codes.TASK_CODE, "approve")
        and coordination_reference(task) is not None
    )


def coordination_reference(task: Tree) -> str | None:
    """`Task/{id}` of the coordination Task that this Task is part of."""
    references = [str(part["reference"]) for part in task.get("partOf", []) if "reference" in part]
    return next((reference for reference in references if reference.startswith("Task/")), None)


def read_decision(task: Tree) -> Decision:
    """The decision in Task.output. Raises BusinessRule with an issue for each output that is missing or unknown."""
    issues: list[Issue] = []
    decisions = [output.get("valueCodeableConcept", {}) for output in _outputs(task, "decision")]
    found = [code for concept in decisions for code in _codes(concept, codes.MDT_DECISION)]
    rationales = [
        str(output["valueString"]) for output in _outputs(task, "rationale") if output.get("valueString")
    ]
    if len(found) != 1 or found[0] not in DECISIONS:
        issues.append(
            Issue(
                "business-rule",
                f"a completed MDT Task carries one output of type {codes.TASK_OUTPUT}|decision with "
                f"valueCodeableConcept of {codes.MDT_DECISION}: {', '.join(DECISIONS)}",
                ("Task.output",),
            )
        )
    if not rationales:
        issues.append(
            Issue(
                "business-rule",
                f"a completed MDT Task says why: one output of type {codes.TASK_OUTPUT}|rationale with valueString",
                ("Task.output",),
            )
        )
    if issues:
        raise BusinessRule(issues)
    participants = tuple(o["valueReference"] for o in _outputs(task, "participant") if "valueReference" in o)
    return Decision(found[0], " ".join(rationales), participants)


def coordination_after(task: Tree, decision: Decision, *, now: str) -> Tree | None:
    """The coordination Task after the decision, or None if the decision does not move it.

    An emergency was accepted before the team met: its review changes nothing that is under way.
    """
    if task["status"] not in {"requested", "received"}:
        return None
    reason = {"text": decision.rationale}
    match decision.decision:
        case "recommended":
            change: Tree = {"status": "accepted", "businessStatus": codes.business_status("3.0")}
        case "deferred":
            change = {"businessStatus": codes.business_status("deferred")}
        case _:
            # An alternative is for the referrer to request: the Task that was asked is declined (HL7 COW).
            prefix = "Alternative recommended: " if decision.decision == "alternative" else ""
            change = {
                "status": "rejected",
                "businessStatus": codes.business_status("4.0"),
                "statusReason": {"text": prefix + reason["text"]},
            }
    return {**task, **change, "lastModified": now}


def care_plan(service_request: Tree, reference: str, decision: Decision, *, now: str) -> Tree:
    """The recommendation as a CarePlan whose activity is the ServiceRequest (cf. MII oncology, tumour conference)."""
    plan: Tree = {
        "resourceType": "CarePlan",
        "status": "active",
        "intent": "plan",
        "title": "MDT recommendation: palliative interventional radiology",
        "description": decision.rationale,
        "subject": service_request["subject"],
        "created": now,
        "activity": [{"reference": {"reference": reference}}],
    }
    if "reasonReference" in service_request:
        addressed = [r for r in service_request["reasonReference"] if "Condition/" in r.get("reference", "")]
        if addressed:
            plan["addresses"] = addressed
    if decision.participants:
        plan["contributor"] = list(decision.participants)
    return plan


def provenance(targets: list[str], decision: Decision, caller: str | None, *, now: str) -> Tree:
    """Who decided: each participant, and the client that recorded it when nobody is named."""
    agents: list[dict[str, Any]] = [{"who": participant} for participant in decision.participants]
    return {
        "resourceType": "Provenance",
        "target": [{"reference": target} for target in targets],
        "recorded": now,
        "activity": codes.concept(codes.MDT_DECISION, decision.decision),
        "agent": agents or [{"who": {"display": caller or "unnamed client"}}],
    }


def _outputs(task: Tree, output_type: str) -> list[Tree]:
    return [o for o in task.get("output", []) if _has_code(o.get("type", {}), codes.TASK_OUTPUT, output_type)]


def _codes(concept: Tree, system: str) -> list[str]:
    return [str(c.get("code")) for c in concept.get("coding", []) if c.get("system") == system]


def _has_code(concept: Tree, system: str, code: str) -> bool:
    return code in _codes(concept, system)

"""How far a referral is: derived from its appointments, procedures and summary, whatever order they arrived in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kanwa_intake.domain.task_states import TERMINAL
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.store.stored import StoredResource

# An appointment that stands, in the order in which a visit goes through them.
STANDING: Final = frozenset({"booked", "checked-in", "arrived", "fulfilled"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What other services have told about one referral; deleted resources are left out."""

    appointments: Sequence[StoredResource]
    procedures: Sequence[StoredResource]
    summaries: Sequence[StoredResource]


def advance(task: Tree, facts: Facts, *, now: str) -> Tree | None:
    """The coordination Task as the facts have it, or None if it says so already.

    A closed Task is not opened again. `now` is the FHIR instant for lastModified. Order independent: the result
    depends on the facts alone. Business states: BSeR/360X (HL7 BSeR IG).
    """
    if task["status"] in TERMINAL or task["status"] in {"draft", "requested", "received"}:
        return None
    procedures = [procedure.tree for procedure in facts.procedures]
    state = {**task}
    _follow_appointments(state, [appointment.tree["status"] for appointment in facts.appointments])
    completed = [
        p for p, tree in zip(facts.procedures, procedures, strict=True) if tree["status"] == "completed"
    ]
    under_way = any(tree["status"] in {"in-progress", "on-hold"} for tree in procedures)
    ended = [tree for tree in procedures if tree["status"] in {"not-done", "stopped"}]
    if under_way or completed:
        state["status"] = "in-progress"
    if completed:
        state["businessStatus"] = codes.business_status("5.1.4")
        state["output"] = _outputs(state, "procedure", completed)
        if facts.summaries:
            state["status"] = "completed"
            state["businessStatus"] = codes.business_status("7.0")
            state["output"] = _outputs(state, "summary", facts.summaries)
    elif ended and not under_way and len(ended) == len(procedures):
        state["status"] = "failed"
        state["statusReason"] = ended[-1].get("statusReason", {"text": "the procedure was not completed"})
    if state == task:
        return None
    return {**state, "lastModified": now}


def _follow_appointments(state: Tree, statuses: Sequence[str]) -> None:
    if any(status in STANDING for status in statuses):
        state["businessStatus"] = codes.business_status("5.1.1")
    elif "pending" in statuses or not statuses:
        return
    elif "noshow" in statuses:
        state["businessStatus"] = codes.business_status("5.1.2")
    elif "cancelled" in statuses:
        state["businessStatus"] = codes.business_status("5.1.3")


def _outputs(state: Tree, output_type: str, resources: Sequence[StoredResource]) -> list[Tree]:
    outputs: list[Tree] = list(state.get("output", []))
    known = {output.get("valueReference", {}).get("reference") for output in outputs}
    return outputs + [
        {
            "type": codes.concept(codes.TASK_OUTPUT, output_type),
            "valueReference": {"reference": resource.reference},
        }
        for resource in resources
        if resource.reference not in known
    ]

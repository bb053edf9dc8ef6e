"""Writes by clients: what they may record, and what stays as it is."""

from uuid import NAMESPACE_URL, uuid5

from kanwa_outcomes.domain.derived_observation import is_derived
from kanwa_outcomes.domain.observation_states import check_change
from kanwa_outcomes.domain.writing import change_of_derived, faults_of
from kanwa_shared.clinical import codes
from kanwa_shared.errors import BusinessRule, Conflict, Issue
from kanwa_shared.fhir.bundle import instant
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context, WriteRequest


async def record_observation(request: WriteRequest, context: Context) -> None:
    """WriteRule of Observation: a score on its scale, a status that may follow, no outcome by hand.

    Raises BusinessRule. What a client was promised already is kept, and a DetectedIssue says what is wrong.
    """
    before = request.current.tree if request.current is not None else None
    if before is not None and is_derived(before) and not request.promised:
        raise BusinessRule([change_of_derived()])
    if request.tree is None:
        return
    faults = faults_of(request.tree)
    if request.promised:
        for fault in faults:
            _record_fault(request.id, request.tree, fault, context)
        return
    if faults:
        raise BusinessRule(faults)
    if before is not None:
        check_change(before["status"], request.tree["status"])


async def keep_adverse_event(request: WriteRequest, context: Context) -> None:
    """WriteRule of AdverseEvent: it is not deleted; R4 gives it no status. Raises Conflict."""
    if request.tree is None and not request.promised:
        raise Conflict(
            "an AdverseEvent is not deleted; correct it with an update, and say in its description if it was "
            "entered in error",
            code="business-rule",
        )


def _record_fault(id: str, observation: Tree, fault: Issue, context: Context) -> None:
    code = "derived-by-client" if is_derived(observation) else "value-out-of-range"
    issue: Tree = {
        "resourceType": "DetectedIssue",
        "status": "final",
        "code": codes.concept(codes.DETECTED_ISSUE, code),
        "severity": "moderate",
        "identifiedDateTime": instant(context.now),
        "implicated": [{"reference": f"Observation/{id}"}],
        "detail": f"{fault.diagnostics}. It was accepted in a transaction and is not used: correct it.",
    }
    if "subject" in observation:
        issue["patient"] = observation["subject"]
    context.changes.hand_over(issue, id=str(uuid5(NAMESPACE_URL, f"Observation/{id}/{code}")))

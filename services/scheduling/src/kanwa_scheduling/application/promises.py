"""What is wrong with a resource that a client was promised: recorded for people, since it is not refused."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid5

from kanwa_scheduling.domain.references import relative
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.bundle import instant
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context

_OVERLAPS: Final = UUID("6e1d4bd1-9c0c-5c63-8d3c-2a6b8d1f7a52")


def record_overlap(context: Context, appointment_id: str, appointment: Tree, others: Sequence[str]) -> None:
    """Ask intake for a DetectedIssue: this Appointment takes no time, because these have it already."""
    implicated = [f"Appointment/{id}" for id in (appointment_id, *dict.fromkeys(others))]
    patients = [
        p["actor"]
        for p in appointment.get("participant", ())
        if relative(p.get("actor", {}).get("reference")).startswith("Patient/")
    ]
    issue: Tree = {
        "resourceType": "DetectedIssue",
        "status": "final",
        "code": codes.concept(codes.DETECTED_ISSUE, "appointment-overlap"),
        "severity": "high",
        "identifiedDateTime": instant(context.now),
        "implicated": [{"reference": reference} for reference in implicated],
        "detail": f"Appointment/{appointment_id} was accepted in a transaction, but its time is taken. "
        "It reserves nobody: move or cancel it.",
    }
    if patients:
        issue["patient"] = patients[0]
    context.changes.hand_over(issue, id=str(uuid5(_OVERLAPS, appointment_id)))

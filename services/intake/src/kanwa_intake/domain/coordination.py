"""The Tasks that carry a referral: coordination (`fulfill`), MDT (`approve`), missing information."""

from datetime import datetime
from typing import Final

from kanwa_shared.clinical import codes
from kanwa_shared.clinical.urgency import UrgencyLimits, due_time
from kanwa_shared.fhir.bundle import instant
from kanwa_shared.fhir.json_types import Tree

# An order that somebody is asked to carry out; proposals, plans and options are not (R4 request-intent).
ORDERS: Final = frozenset(
    {"order", "original-order", "reflex-order", "filler-order", "instance-order", "directive"}
)


def is_referral(service_request: Tree) -> bool:
    """Whether the request asks for something now: status active and the intent of an order."""
    return service_request["status"] == "active" and service_request["intent"] in ORDERS


def is_emergency(service_request: Tree) -> bool:
    """Whether the referral goes ahead before the MDT meets: priority `stat`."""
    return service_request.get("priority") == "stat"


def coordination_task(
    reference: str,
    service_request: Tree,
    *,
    waits_for: str,
    owner: Tree,
    now: datetime,
    limits: UrgencyLimits,
) -> Tree:
    """The coordination Task of a referral (HL7 COW: one for each pair of placer and fulfiller).

    `waits_for` is `awaiting-information` or `awaiting-mdt`; an emergency waits for nobody and is accepted at
    once. `restriction.period` ends when the procedure should have started.
    """
    emergency = is_emergency(service_request)
    due = due_time(service_request.get("priority"), now, limits)
    task: Tree = {
        "resourceType": "Task",
        "basedOn": [{"reference": reference}],
        "status": "accepted" if emergency else "received",
        "businessStatus": codes.business_status("3.0" if emergency else waits_for),
        "intent": "order",
        "priority": service_request.get("priority", "routine"),
        "code": codes.concept(codes.TASK_CODE, "fulfill"),
        "focus": {"reference": reference},
        "for": service_request["subject"],
        "authoredOn": instant(now),
        "lastModified": instant(now),
        "owner": service_request.get("performer", [owner])[0],
        "restriction": {"period": {"start": instant(now), "end": instant(due)}},
    }
    return _with_requester(task, service_request)


def mdt_task(reference: str, coordination: str, service_request: Tree, *, owner: Tree, now: datetime) -> Tree:
    """The Task that asks the MDT for its decision, or for its review of an emergency."""
    review = is_emergency(service_request)
    task: Tree = {
        "resourceType": "Task",
        "basedOn": [{"reference": reference}],
        "partOf": [{"reference": coordination}],
        "status": "requested",
        "businessStatus": codes.business_status("awaiting-review" if review else "awaiting-mdt"),
        "intent": "order",
        "priority": service_request.get("priority", "routine"),
        "code": codes.concept(codes.TASK_CODE, "approve"),
        "description": "Review of an emergency" if review else "MDT decision",
        "focus": {"reference": reference},
        "for": service_request["subject"],
        "authoredOn": instant(now),
        "lastModified": instant(now),
        "owner": owner,
    }
    return _with_requester(task, service_request)


def missing_information_task(
    reference: str, coordination: str, service_request: Tree, *, item: Tree, reason: str, now: datetime
) -> Tree:
    """The Task that asks the referrer for one item: `input` is the item's code, `description` why it is needed."""
    task: Tree = {
        "resourceType": "Task",
        "basedOn": [{"reference": reference}],
        "partOf": [{"reference": coordination}],
        "status": "requested",
        "intent": "order",
        "priority": service_request.get("priority", "routine"),
        "code": codes.concept(codes.TASK, "missing-information"),
        "description": reason,
        "focus": {"reference": reference},
        "for": service_request["subject"],
        "authoredOn": instant(now),
        "lastModified": instant(now),
        "input": [{"type": codes.concept(codes.TASK_INPUT, "missing-item"), "valueCodeableConcept": item}],
    }
    if "requester" in service_request:
        task["owner"] = service_request["requester"]
    return task


def awaiting(task: Tree, state: str, *, now: datetime) -> Tree:
    """The coordination Task waiting for `awaiting-information` or `awaiting-mdt`; its status stays received."""
    return {**task, "businessStatus": codes.business_status(state), "lastModified": instant(now)}


def answered(task: Tree, *, output: str, now: datetime) -> Tree:
    """A missing-information Task completed by the resource `output` (`Observation/…`)."""
    return {
        **task,
        "status": "completed",
        "lastModified": instant(now),
        "output": [
            {
                "type": codes.concept(codes.TASK_OUTPUT, "information"),
                "valueReference": {"reference": output},
            }
        ],
    }


def _with_requester(task: Tree, service_request: Tree) -> Tree:
    return {**task, "requester": service_request["requester"]} if "requester" in service_request else task


def has_code(task: Tree, system: str, code: str) -> bool:
    """Whether Task.code carries the coding."""
    codings = task.get("code", {}).get("coding", [])
    return any(coding.get("system") == system and coding.get("code") == code for coding in codings)

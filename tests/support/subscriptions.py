"""Resources that subscriptions are about, and Subscriptions."""

from typing import Any, Final

from kanwa_shared.clinical import codes

Tree = dict[str, Any]

BACKPORT: Final = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport"
TOPIC: Final = f"{codes.CANONICAL}/SubscriptionTopic"


def subscription(
    endpoint: str,
    topic: str = "referral-received",
    *,
    content: str = "id-only",
    filters: tuple[str, ...] = (),
    headers: tuple[str, ...] = (),
    **extensions: int,
) -> Tree:
    """A topic-based Subscription; `extensions` such as `max_count=5` are those of the channel."""
    types = {
        "max_count": "valuePositiveInt",
        "timeout": "valueUnsignedInt",
        "heartbeat_period": "valueUnsignedInt",
    }
    channel: Tree = {
        "type": "rest-hook",
        "endpoint": endpoint,
        "payload": "application/fhir+json",
        "_payload": {"extension": [{"url": f"{BACKPORT}-payload-content", "valueCode": content}]},
    }
    if extensions:
        channel["extension"] = [
            {"url": f"{BACKPORT}-{name.replace('_', '-')}", types[name]: value}
            for name, value in extensions.items()
        ]
    if headers:
        channel["header"] = list(headers)
    tree: Tree = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "the board of another hospital",
        "criteria": f"{TOPIC}/{topic}",
        "channel": channel,
    }
    if filters:
        tree["_criteria"] = {
            "extension": [{"url": f"{BACKPORT}-filter-criteria", "valueString": text} for text in filters]
        }
    return tree


def referral(patient: str = "p1", **more: Any) -> Tree:
    return {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "priority": "stat",
        "code": {"coding": [{"system": codes.IR_PROCEDURE, "code": "emergency-embolization"}]},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


def appointment(id: str = "a1", status: str = "booked", patient: str = "p1") -> Tree:
    return {
        "resourceType": "Appointment",
        "id": id,
        "status": status,
        "start": "2026-12-01T09:00:00Z",
        "end": "2026-12-01T10:30:00Z",
        "participant": [
            {"actor": {"reference": f"Patient/{patient}"}, "status": "accepted"},
            {"actor": {"reference": "Location/suite-1"}, "status": "accepted"},
        ],
    }

"""Notification Bundles of the Subscriptions R4 Backport: type history, the status as Parameters first.

https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/StructureDefinition-backport-subscription-notification-r4.html
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import uuid4

import msgspec

from kanwa_intake.domain.subscription_states import SubscriptionStatus
from kanwa_intake.domain.subscription_topics_fhir import BACKPORT
from kanwa_intake.domain.subscriptions import Content
from kanwa_shared.fhir.bundle import history_entry, instant
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.store.stored import StoredResource

NotificationType = Literal["handshake", "heartbeat", "event-notification", "query-status", "query-event"]

_STATUS_PROFILE: Final = f"{BACKPORT}/StructureDefinition/backport-subscription-status-r4"
_BUNDLE_PROFILE: Final = f"{BACKPORT}/StructureDefinition/backport-subscription-notification-r4"
_ERROR: Final = "http://terminology.hl7.org/CodeSystem/subscription-error"


@dataclass(frozen=True, slots=True)
class NotifiedEvent:
    """One event of one Subscription: its number counts from 1 without a gap; `resource` is the version that fired.

    The version's body is None where its text is no longer kept.
    """

    number: int
    resource: StoredResource


@dataclass(frozen=True, slots=True)
class SubscriptionState:
    """What a notification says of its Subscription; `events` is how many there were since it began."""

    id: str
    topic: str
    status: SubscriptionStatus
    content: Content
    events: int
    error: str | None = None


def notification(
    state: SubscriptionState,
    kind: NotificationType,
    events: Sequence[NotifiedEvent],
    *,
    base_url: str,
    now: datetime,
    content: Content | None = None,
) -> bytes:
    """The JSON text of a notification; `content` may show less than the Subscription asks for."""
    shown = content or state.content
    reference = f"{base_url}/Subscription/{state.id}"
    first = {
        "fullUrl": f"urn:uuid:{uuid4()}",
        "resource": status_parameters(state, kind, events, base_url=base_url, content=shown),
        "request": {"method": "GET", "url": f"{reference}/$status"},
        "response": {"status": "200"},
    }
    entries: list[Any] = [first]
    if shown == "full-resource":
        entries += [history_entry(event.resource, base_url) for event in events]
    return msgspec.json.encode(
        {
            "resourceType": "Bundle",
            "id": str(uuid4()),
            "meta": {"profile": [_BUNDLE_PROFILE]},
            "type": "history",
            "timestamp": instant(now),
            "entry": entries,
        }
    )


def status_parameters(
    state: SubscriptionState,
    kind: NotificationType,
    events: Sequence[NotifiedEvent] = (),
    *,
    base_url: str,
    content: Content | None = None,
) -> Tree:
    """SubscriptionStatus as R4 Parameters. What is `empty` names neither topic nor resources."""
    shown = content or state.content
    parameters: list[Tree] = [
        {
            "name": "subscription",
            "valueReference": {"reference": f"{base_url}/Subscription/{state.id}"},
        }
    ]
    if shown != "empty":
        parameters.append({"name": "topic", "valueCanonical": state.topic})
    parameters += [
        {"name": "status", "valueCode": state.status},
        {"name": "type", "valueCode": kind},
        {"name": "events-since-subscription-start", "valueString": str(state.events)},
        *(_event(event, base_url, shown) for event in events),
    ]
    if state.error is not None:
        parameters.append({"name": "error", "valueCodeableConcept": _error(state.error)})
    return {
        "resourceType": "Parameters",
        "id": str(uuid4()),
        "meta": {"profile": [_STATUS_PROFILE]},
        "parameter": parameters,
    }


def status_bundle(states: Sequence[SubscriptionState], *, base_url: str) -> Tree:
    """The answer to `$status`: a searchset with one Parameters for each Subscription."""
    entries = [
        {
            "fullUrl": f"{base_url}/Subscription/{state.id}/$status",
            "resource": status_parameters(state, "query-status", base_url=base_url, content="id-only"),
            "search": {"mode": "match"},
        }
        for state in states
    ]
    written: Tree = {
        "resourceType": "Bundle",
        "id": str(uuid4()),
        "type": "searchset",
        "total": len(entries),
    }
    return {**written, "entry": entries} if entries else written


def _event(event: NotifiedEvent, base_url: str, content: Content) -> Tree:
    part: list[Tree] = [
        {"name": "event-number", "valueString": str(event.number)},
        {"name": "timestamp", "valueInstant": instant(event.resource.last_updated)},
    ]
    if content != "empty":
        reference = f"{base_url}/{event.resource.reference}"
        part.append({"name": "focus", "valueReference": {"reference": reference}})
    return {"name": "notification-event", "part": part}


def _error(reason: str) -> Tree:
    return {"coding": [{"system": _ERROR, "code": "no-response"}], "text": reason}

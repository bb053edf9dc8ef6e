"""The referral behind a booking: its replica here, and whether the team has accepted it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from kanwa_scheduling.settings import scheduling_settings
from kanwa_shared.clinical.urgency import UrgencyClass, urgency_of
from kanwa_shared.errors import BusinessRule
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context
from kanwa_shared.store.stored import StoredResource

T = TypeVar("T")

ACCEPTED: Final = frozenset({"accepted", "ready", "in-progress"})
#: From these no acceptance will come by waiting.
CLOSED: Final = frozenset({"rejected", "cancelled", "failed", "completed", "entered-in-error"})
_POLL_SECONDS: Final = 0.05


async def known_referral(context: Context, service_request_id: str) -> StoredResource | None:
    """The replica of a ServiceRequest, or None if it is not here (yet) or was deleted."""
    found = await context.store.get("ServiceRequest", service_request_id)
    return None if found is None or found.deleted else found


async def await_referral(context: Context, service_request_id: str, expression: str) -> StoredResource:
    """The replica of an active ServiceRequest, waited for a bounded time: it may have been posted just now.

    Raises BusinessRule if it does not come or is not active.
    """
    found = await _poll(
        context, lambda: known_referral(context, service_request_id), lambda one: one is not None
    )
    if found is None:
        raise BusinessRule(
            f"ServiceRequest/{service_request_id} is not known to scheduling; "
            "if it was created just now, try again",
            expression=expression,
            code="not-found",
        )
    check_active(found.tree, service_request_id, expression)
    return found


def check_active(service_request: Tree, id: str, expression: str) -> None:
    """Raise BusinessRule unless the ServiceRequest is active."""
    status = service_request.get("status")
    if status != "active":
        raise BusinessRule(
            f"ServiceRequest/{id} is {status}; only an active referral can be scheduled and performed",
            expression=expression,
        )


async def await_acceptance(context: Context, referral: StoredResource, expression: str) -> None:
    """Return once the coordination Task is accepted, or at once for an emergency.

    A decision that was just taken is waited for a bounded time. Raises BusinessRule saying what is missing.
    """
    if urgency_of(referral.tree.get("priority")) is UrgencyClass.EMERGENCY:
        return
    statuses = await _poll(context, lambda: _task_statuses(context, referral.id), _settled)
    if statuses & ACCEPTED:
        return
    state = (
        f"its coordination Task is {', '.join(sorted(statuses))}"
        if statuses
        else "it has no coordination Task yet"
    )
    raise BusinessRule(
        f"{referral.reference} is not accepted: {state}; "
        "complete the MDT Task (code approve) with the decision 'recommended' first",
        expression=expression,
    )


async def coordination_tasks(context: Context, service_request_id: str) -> list[StoredResource]:
    """Coordination Tasks (code fulfill) of a referral."""
    return await context.store.find("Task", focus=f"ServiceRequest/{service_request_id}", code="fulfill")


async def _task_statuses(context: Context, service_request_id: str) -> frozenset[str]:
    tasks = await coordination_tasks(context, service_request_id)
    return frozenset(task.tree.get("status", "") for task in tasks)


def _settled(statuses: frozenset[str]) -> bool:
    return bool(statuses & ACCEPTED) or bool(statuses and statuses <= CLOSED)


async def _poll(context: Context, read: Callable[[], Awaitable[T]], good: Callable[[T], bool]) -> T:
    """What `read` gives as soon as it is `good`, else its last answer when the wait is over."""
    deadline = time.monotonic() + scheduling_settings(context).replica_wait_seconds
    while True:
        found = await read()
        if good(found) or time.monotonic() >= deadline:
            return found
        await asyncio.sleep(_POLL_SECONDS)

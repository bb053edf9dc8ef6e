"""Where a referral stands, from the newest versions of its parts.

Events of different services arrive in any order: the furthest step that any of them tells of counts.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from kanwa_mdt.domain.case import Stage

_STANDING: Final = frozenset({"booked", "checked-in", "arrived", "fulfilled"})
_UNDER_WAY: Final = frozenset({"in-progress", "on-hold"})
_ORDERS: Final = frozenset(
    {"order", "original-order", "reflex-order", "filler-order", "instance-order", "directive"}
)
OPEN_TASK: Final = frozenset(
    {"draft", "requested", "received", "accepted", "ready", "in-progress", "on-hold"}
)


@dataclass(frozen=True, slots=True)
class Standing:
    """The states that decide the stage; `coordination` and `business` are empty without such a Task."""

    request: str
    intent: str
    coordination: str
    business: str
    mdt_open: bool
    appointments: Collection[str]
    procedures: Collection[str]


def stage_of(standing: Standing) -> Stage | None:
    """The column, or None for a request that nobody is asked to coordinate (a draft, a plan, history)."""
    if not standing.coordination and (standing.request != "active" or standing.intent not in _ORDERS):
        return None
    if standing.coordination == "rejected":
        return Stage.DECLINED
    if standing.request in {"completed", "revoked", "entered-in-error"}:
        return Stage.CLOSED
    if standing.coordination in {"completed", "cancelled", "failed", "entered-in-error"}:
        return Stage.CLOSED
    return _open_stage(standing)


def _open_stage(standing: Standing) -> Stage:
    if _UNDER_WAY & set(standing.procedures):
        return Stage.IN_PROCEDURE
    if "completed" in standing.procedures or standing.business == "5.1.4":
        return Stage.FOLLOW_UP
    if standing.coordination in _UNDER_WAY:
        return Stage.IN_PROCEDURE
    if _STANDING & set(standing.appointments):
        return Stage.BOOKED
    if standing.coordination in {"accepted", "ready"}:
        return Stage.ACCEPTED
    return Stage.AWAITING_MDT if standing.mdt_open else Stage.REFERRED

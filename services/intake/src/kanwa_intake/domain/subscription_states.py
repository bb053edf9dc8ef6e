"""Subscription.status: what a client may ask for, and what kanwa makes of a delivery.

https://hl7.org/fhir/R4/valueset-subscription-status.html; the transitions follow the channel page of the Subscriptions
R4 Backport guide, with kanwa's own retries: an endpoint that answers again makes `error` into `active`.
"""

from collections.abc import Mapping
from typing import Final, Literal, get_args

SubscriptionStatus = Literal["requested", "active", "error", "off"]
#: `ask`: a client wants (again) to be sent events. `stop`: a client, or the end it gave, wants no more of them.
#: `accept`: the endpoint took a notification. `fail`: it failed repeatedly. `give-up`: it failed for too long.
SubscriptionCommand = Literal["ask", "stop", "accept", "fail", "give-up"]

STATUSES: Final[tuple[SubscriptionStatus, ...]] = get_args(SubscriptionStatus)
COMMANDS: Final[tuple[SubscriptionCommand, ...]] = get_args(SubscriptionCommand)

#: A pair that is not here changes nothing.
TRANSITIONS: Final[Mapping[tuple[SubscriptionStatus, SubscriptionCommand], SubscriptionStatus]] = {
    ("active", "ask"): "requested",
    ("error", "ask"): "requested",
    ("off", "ask"): "requested",
    ("requested", "stop"): "off",
    ("active", "stop"): "off",
    ("error", "stop"): "off",
    ("requested", "accept"): "active",
    ("error", "accept"): "active",
    ("requested", "fail"): "error",
    ("active", "fail"): "error",
    ("requested", "give-up"): "off",
    ("active", "give-up"): "off",
    ("error", "give-up"): "off",
}


def after(status: SubscriptionStatus, command: SubscriptionCommand) -> SubscriptionStatus:
    """The status after a command; what is not foreseen leaves it as it is."""
    return TRANSITIONS.get((status, command), status)


def wanted_status(
    before: SubscriptionStatus | None, written: str, *, same_channel: bool
) -> SubscriptionStatus:
    """The status to store when a client writes one: None before a creation.

    A client turns a Subscription off or asks for it; only kanwa says that it is active or in error. Written over a
    channel that did not change, `active` and `error` leave it alone: a client may write back what it has read.
    """
    if written == "off":
        return "off"
    if before is not None and written == before and same_channel and before != "requested":
        return before
    return "requested"

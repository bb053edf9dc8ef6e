"""A Subscription is written: what it asks for is checked, and the channel is set up in the same commit."""

import secrets
from dataclasses import replace
from urllib.parse import urlsplit

from kanwa_intake.domain.subscription_states import wanted_status
from kanwa_intake.domain.subscriptions import (
    Channel,
    SubscriptionRefused,
    is_topic_based,
    masked,
    read_channel,
    unmasked,
)
from kanwa_intake.domain.webhook_signature import SECRET_BYTES
from kanwa_intake.settings import IntakeSettings, intake_settings
from kanwa_intake.store.subscriptions import (
    StoredChannel,
    channel_of,
    count_channels,
    put_channel,
    remove_channel,
    waiting_types,
)
from kanwa_shared.errors import Forbidden, Issue
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context, WriteRequest
from kanwa_shared.security.caller import InsufficientScope
from kanwa_shared.security.outbound import TargetRefused, check_url
from kanwa_shared.security.scopes import allows

_ENDPOINT = "Subscription.channel.endpoint"


async def write_subscription(request: WriteRequest, context: Context) -> None:
    """WriteRule of Subscription: set up, change, stop or remove its channel.

    The stored text differs from what came in two members: `status` is what kanwa makes of it, and header values
    are masked. That of an R4 query, which is not acted on, is stored as it came. Raises SubscriptionRefused for what
    kanwa can't do, InsufficientScope where the caller may not read what it wants to be told.
    """
    if request.tree is None or not is_topic_based(request.tree):
        remove_channel(context.changes, request.id)
        return
    stored = await channel_of(context.store.pool, request.id)
    channel = _with_stored_headers(read_channel(request.tree), stored)
    settings = intake_settings(context)
    _check_target(channel, settings)
    if request.tree["status"] != "off":
        waiting = await waiting_types(context.store.pool, request.id) if stored else set[str]()
        for resource_type in sorted({channel.topic.resource_type, *waiting}):
            check_may_read(resource_type, context)
    if stored is None:
        await _check_number(context, settings)
    elif stored.owner != context.caller:
        # Whoever may redirect another client's Subscription would be sent that client's credentials.
        raise Forbidden("only the client that created the Subscription may change it; it may be deleted")
    status = wanted_status(
        stored.status if stored else None,
        request.tree["status"],
        same_channel=stored is not None and stored.same_way(channel),
    )
    secret = stored.secret if stored else secrets.token_bytes(SECRET_BYTES)
    put_channel(context.changes, request.id, channel, status, context.caller, secret)
    _show(request, {**masked(request.tree), "status": status}, context)


def _with_stored_headers(channel: Channel, stored: StoredChannel | None) -> Channel:
    return replace(channel, headers=unmasked(channel.headers, stored.headers if stored else ()))


def _show(request: WriteRequest, tree: Tree, context: Context) -> None:
    """Replace the text that is to be stored, unless it says so already."""
    written = context.changes.stored("Subscription", request.id)
    if written is not None and tree != request.tree:
        context.changes.update(written, tree)


def _check_target(channel: Channel, settings: IntakeSettings) -> None:
    try:
        check_url(channel.endpoint, settings.subscription_targets)
    except TargetRefused as refusal:
        raise SubscriptionRefused([Issue("business-rule", str(refusal), (_ENDPOINT,))]) from refusal
    host = urlsplit(channel.endpoint).hostname or ""
    if settings.subscription_hosts and host.lower() not in settings.subscription_hosts.lower().split():
        problem = f"{host} is not among the hosts that this server may send to; ask its operator"
        raise SubscriptionRefused([Issue("business-rule", problem, (_ENDPOINT,))])


def check_may_read(resource_type: str, context: Context) -> None:
    """Raise InsufficientScope unless the caller may read and search the type: a Subscription tells as much."""
    for permission in ("r", "s"):
        if context.scopes is not None and not allows(context.scopes, resource_type, permission):
            raise InsufficientScope(f"system/{resource_type}.{permission}")


async def _check_number(context: Context, settings: IntakeSettings) -> None:
    if await count_channels(context.store.pool) >= settings.subscriptions_max:
        problem = f"this server keeps at most {settings.subscriptions_max} Subscriptions; delete one that is not needed"
        raise SubscriptionRefused([Issue("too-costly", problem)])

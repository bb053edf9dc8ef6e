"""`$status` and `$events` of the Subscriptions R4 Backport, and `$signing-secret` of kanwa."""

import secrets
from typing import Any, Final, cast

from kanwa_intake.application.subscribe import check_may_read
from kanwa_intake.domain.notifications import SubscriptionState, notification, status_bundle
from kanwa_intake.domain.subscription_states import STATUSES, SubscriptionStatus
from kanwa_intake.domain.subscription_topics import TOPICS
from kanwa_intake.domain.subscriptions import CONTENTS, Content, is_topic_based
from kanwa_intake.domain.webhook_signature import SECRET_BYTES, shown_secret
from kanwa_intake.store.subscriptions import (
    StoredChannel,
    channel_of,
    channels,
    events_between,
    put_secret,
)
from kanwa_shared.errors import Forbidden, Invalid, NotFound
from kanwa_shared.fhir.json_text import parse
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.rest.service import Context, OperationRequest, OperationResponse

EVENTS_MAX: Final = 1000
STATUSES_MAX: Final = 1000
_LAST: Final = 2**63 - 1
_NOT_ACTED_ON: Final = (
    "the criteria is an R4 query, and kanwa sends nothing for it:"
    " name one of the topics in the CapabilityStatement"
)


async def subscription_status(request: OperationRequest, context: Context) -> OperationResponse:
    """`GET Subscription/[id]/$status`, `GET Subscription/$status`: a searchset with one status for each."""
    base_url = _base(context)
    if request.id is not None:
        state = await _state(request.id, context)
        return OperationResponse(200, status_bundle([state], base_url=base_url))
    ids, statuses = _texts(request.parameters, "id"), _texts(request.parameters, "status")
    for status in statuses:
        if status not in STATUSES:
            raise Invalid(f"status is one of {', '.join(STATUSES)}, not '{status}'", code="code-invalid")
    found = await channels(context.store.pool, ids, statuses, STATUSES_MAX)
    return OperationResponse(200, status_bundle([channel.state for channel in found], base_url=base_url))


async def subscription_events(request: OperationRequest, context: Context) -> OperationResponse:
    """`GET Subscription/[id]/$events?eventsSinceNumber=…&eventsUntilNumber=…`: what there was, by number.

    At most `EVENTS_MAX` events; who gets as many asks again from the next number. `content` may ask for less than
    the Subscription has, not for more.
    """
    channel = await _channel(request.id or "", context)
    topic_type = TOPICS[channel.topic].resource_type
    first = _number(request.parameters, "eventsSinceNumber", 1)
    last = _number(request.parameters, "eventsUntilNumber", _LAST)
    content = _content(request.parameters, channel.content)
    events = await events_between(context.store.pool, channel.subscription, first, last, EVENTS_MAX)
    # Events from before a change of topic are of the type that the topic then had.
    for resource_type in sorted({topic_type, *(event.resource.resource_type for event in events)}):
        check_may_read(resource_type, context)
    text = notification(
        channel.state, "query-event", events, base_url=_base(context), now=context.now, content=content
    )
    return OperationResponse(200, parse(text))


async def signing_secret(request: OperationRequest, context: Context) -> OperationResponse:
    """`POST Subscription/[id]/$signing-secret`: what notifications are signed with, for its creator alone.

    With the parameter `rotate` true it is a new one, from the next notification on.
    """
    channel = await _channel(request.id or "", context)
    if channel.owner != context.caller:
        raise Forbidden("only the client that created the Subscription is told its secret")
    secret = channel.secret
    if any(_is(parameter, "rotate", True) for parameter in request.parameters.get("parameter", [])):
        secret = secrets.token_bytes(SECRET_BYTES)
        put_secret(context.changes, channel.subscription, secret)
    answer: Tree = {
        "resourceType": "Parameters",
        "parameter": [{"name": "secret", "valueString": shown_secret(secret)}],
    }
    return OperationResponse(200, answer)


async def _channel(id: str, context: Context) -> StoredChannel:
    """The channel. Raises NotFound, or Gone if the Subscription was deleted."""
    channel = await channel_of(context.store.pool, id)
    if channel is None:
        await context.store.read("Subscription", id)
        raise NotFound(f"Subscription/{id} has no channel: {_NOT_ACTED_ON}")
    return channel


async def _state(id: str, context: Context) -> SubscriptionState:
    channel = await channel_of(context.store.pool, id)
    if channel is not None:
        return channel.state
    tree = (await context.store.read("Subscription", id)).tree
    error = None if is_topic_based(tree) else _NOT_ACTED_ON
    return SubscriptionState(
        id, tree["criteria"], cast(SubscriptionStatus, tree["status"]), "empty", 0, error
    )


def _base(context: Context) -> str:
    return context.settings.base_url.rstrip("/")


def _texts(parameters: Tree, name: str) -> list[str]:
    given = [_value(parameter) for parameter in parameters.get("parameter", []) if parameter["name"] == name]
    return [part.strip() for text in given for part in str(text).split(",") if part.strip()]


def _value(parameter: dict[str, Any]) -> object:
    return next((value for name, value in parameter.items() if name.startswith("value")), "")


def _is(parameter: dict[str, Any], name: str, value: object) -> bool:
    return parameter["name"] == name and _value(parameter) == value


def _number(parameters: Tree, name: str, otherwise: int) -> int:
    given = _texts(parameters, name)
    if not given:
        return otherwise
    if not (given[0].isascii() and given[0].isdigit() and len(given[0]) <= 18):
        raise Invalid(
            f"{name} is the number of an event, a whole number, not '{given[0][:40]}'", code="value"
        )
    return int(given[0])


def _content(parameters: Tree, asked_for: Content) -> Content:
    given = _texts(parameters, "content")
    if not given:
        return asked_for
    if given[0] not in CONTENTS:
        raise Invalid(f"content is one of {', '.join(CONTENTS)}, not '{given[0][:40]}'", code="code-invalid")
    return CONTENTS[min(CONTENTS.index(given[0]), CONTENTS.index(asked_for))]

"""An event arrives: Subscriptions that want it get it into their queue, in the commit that keeps the resource."""

from kanwa_intake.domain.subscription_topics import SubscriptionTopic, condition_of, fires, topics_met
from kanwa_intake.store.subscriptions import collecting, put_event
from kanwa_shared.errors import Gone, NotFound
from kanwa_shared.fhir.json_text import parse
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search import index
from kanwa_shared.fhir.search.satisfied import satisfies
from kanwa_shared.messaging.envelope import Event
from kanwa_shared.ownership import owner_of
from kanwa_shared.rest.service import Context


async def notify_subscribers(event: Event, context: Context) -> None:
    """EventRule of every type that has a topic: note the event for each Subscription whose topic and filters fit.

    The inbox in the same commit makes it once for each event, however often it is delivered; one that comes after
    its successor is noted as well.
    """
    if event.body is None:
        return
    base_url = context.settings.base_url
    tree = parse(event.body)
    met = topics_met(event.resource_type, event.interaction, tree, base_url)
    if not met:
        return
    wanting = await collecting(context.store.pool, [topic.url for topic in met])
    if not wanting:
        return
    fired = {topic.url for topic in await _fired(met, event, context)}
    rows = index(tree, base_url=base_url)
    subscriptions = [
        subscription
        for subscription, topic, filters in wanting
        if topic in fired
        and all(
            satisfies(condition_of(event.resource_type, query), rows, event.resource_id, base_url=base_url)
            for query in filters
        )
    ]
    if subscriptions:
        own = owner_of(event.resource_type) == "intake"
        put_event(context.changes, event, subscriptions, with_body=not own)


async def _fired(met: list[SubscriptionTopic], event: Event, context: Context) -> list[SubscriptionTopic]:
    base_url = context.settings.base_url
    if event.version == 1 or not any(topic.previous for topic in met):
        return met
    previous = await _before(event, context)
    return [topic for topic in met if fires(topic, previous, base_url)]


async def _before(event: Event, context: Context) -> Tree | None:
    """The version before: of an own resource from the history, of another owner's what is here until this commit.

    None where there was none, and where it is not known: a step is told once too often rather than never.
    """
    if owner_of(event.resource_type) != "intake":
        known = await context.store.get(event.resource_type, event.resource_id)
        if known is None or known.deleted or known.version != event.version - 1:
            return None
        return known.tree
    try:
        before = await context.store.read_version(event.resource_type, event.resource_id, event.version - 1)
    except (NotFound, Gone):
        return None
    return before.tree

"""What a service does with an event and with a resource handed over to it: inbox, effect and outbox in one commit."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from kanwa_shared.errors import DomainError, Gone, NotFound, VersionConflict
from kanwa_shared.fhir.json_text import parse
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.messaging.envelope import Ack, Event, HandOver, Outcome, Reject, Retry
from kanwa_shared.messaging.metrics import STALE_EVENTS, SUPERSEDED_HAND_OVERS
from kanwa_shared.rest.engine import Engine, Origin
from kanwa_shared.rest.rebase import rebased
from kanwa_shared.rest.service import Context, EventRule, WriteRequest
from kanwa_shared.store.changes import Interaction
from kanwa_shared.store.commit import ReceivedBefore
from kanwa_shared.store.stored import StoredResource

Stage = Callable[[Context], Awaitable[None]]


class Reactions:
    """The handlers that a service's consumer calls; each event has its effect once."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._consumer = engine.definition.name

    async def on_event(self, event: Event) -> Outcome:
        """Keep a replica of another owner's resource and run the service's rules for its type.

        A version older than the one here changes nothing and is shown to the rules that see every event alone.
        A rule that refuses sends the event to the dead letters.
        """

        async def stage(context: Context) -> None:
            context.changes.mark_received(self._consumer, event.id)
            if event.service != self._engine.definition.name:
                known = await context.store.get(event.resource_type, event.resource_id)
                if known is not None and known.version >= event.version:
                    STALE_EVENTS.labels(self._consumer).inc()
                    # The commit that brought the version which is here has shown it to the rules.
                    if known.version > event.version:
                        await _apply(self._engine.definition.every_event_rules, event, context)
                    return
                context.changes.replica(event)
            await _apply(self._engine.definition.event_rules, event, context)
            await _apply(self._engine.definition.every_event_rules, event, context)

        return await self._settle(Origin(event.actor, event.traceparent, event.correlation_id), stage)

    async def on_hand_over(self, hand_over: HandOver) -> Outcome:
        """Write what another service promised in this one's name; a second delivery changes nothing."""

        async def stage(context: Context) -> None:
            context.changes.mark_received(self._consumer, hand_over.id)
            await self._write(hand_over, context)

        return await self._settle(
            Origin(hand_over.actor, hand_over.traceparent, hand_over.correlation_id), stage
        )

    async def _write(self, hand_over: HandOver, context: Context) -> None:
        resource_type, id = hand_over.resource_type, hand_over.resource_id
        current = await context.store.get(resource_type, id)
        before = None if current is None or current.deleted else current
        if hand_over.interaction == "delete" or hand_over.body is None:
            if before is None:
                return
            context.changes.delete(before)
            request = WriteRequest("delete", resource_type, id, None, before, promised=True)
        elif hand_over.interaction == "create" and current is not None:
            return
        else:
            tree = parse(hand_over.body)
            # Whoever hands over looks at a copy: until that has followed, each event repeats the same update.
            if before is not None and before.says(tree):
                return
            if hand_over.base_version is not None and (
                current is None or current.version != hand_over.base_version
            ):
                rebased_tree = await _onto_current(hand_over, before, tree, context)
                if before is None or rebased_tree is None or before.says(rebased_tree):
                    SUPERSEDED_HAND_OVERS.labels(self._consumer).inc()
                    return
                context.changes.update(before, rebased_tree)
                tree = rebased_tree
            elif current is None:
                context.changes.create(tree, id=id, body=hand_over.body, chosen=True)
            else:
                context.changes.update(current, tree, body=hand_over.body)
            interaction: Interaction = "update" if before else "create"
            request = WriteRequest(interaction, resource_type, id, tree, before, promised=True)
        await self._engine.apply_rules(request, context)

    async def _settle(self, origin: Origin, stage: Stage) -> Outcome:
        try:
            await self._engine.perform(origin, stage)
        except ReceivedBefore:
            return Ack()
        except VersionConflict as conflict:
            return Retry(str(conflict))
        except DomainError as refusal:
            return Reject(str(refusal))
        return Ack()


async def _onto_current(
    hand_over: HandOver, current: StoredResource | None, wanted: Tree, context: Context
) -> Tree | None:
    """What was made of an older version, made of this one; None if it contradicts what was written since.

    Whoever handed it over derives it anew when the version of here reaches its copy.
    """
    if current is None or hand_over.base_version is None:
        return None  # what was deleted stays so
    try:
        base = await context.store.read_version(current.resource_type, current.id, hand_over.base_version)
    except (NotFound, Gone):
        return None
    return rebased(current.tree, base.tree, wanted)


async def _apply(rules: Mapping[str, Sequence[EventRule]], event: Event, context: Context) -> None:
    for rule in rules.get(event.resource_type, ()):
        await rule(event, context)

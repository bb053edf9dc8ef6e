"""kanwa with one of its promises broken on purpose: `python -m tests.chaos.sabotage <promise> <sign> serve …`.

Where the promise is broken it makes the file `sign` and waits to be killed. The rig must notice each.
"""

import asyncio
import sys
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import msgspec

#: How long the broken moment lasts if nobody kills: longer than any test waits.
HESITATION_SECONDS: Final = 120.0


async def hesitate(sign: Path) -> None:
    """Tell that this is the moment, and let it last."""
    await asyncio.to_thread(sign.touch)
    await asyncio.sleep(HESITATION_SECONDS)


def acknowledge_before_commit(sign: Path) -> None:
    """A consumer that settles its deliveries before their effect is safe."""
    from kanwa_shared.messaging.consumer import Consumer

    work = Consumer._work

    class Settled:
        """The channel for a delivery that is acknowledged already."""

        def __init__(self, channel: Any) -> None:
            self._channel = channel

        def __getattr__(self, name: str) -> Any:
            return getattr(self._channel, name)

        def ack(self, _tag: int) -> None:
            return None

    async def careless(self: Any, channel: Any, deliveries: Any, delivery: Any, message: Any) -> None:
        channel.ack(delivery.tag)
        await channel.flush()
        await hesitate(sign)
        await work(self, Settled(channel), deliveries, delivery, message)  # type: ignore[arg-type]

    Consumer._work = careless  # type: ignore[method-assign]


def publish_before_commit(sign: Path) -> None:
    """An API that tells of a Patient before it is written; its outbox tells of it again, under the same id."""
    from kanwa_shared.messaging.outbox import outbox_status
    from kanwa_shared.messaging.publisher import Publisher
    from kanwa_shared.messaging.topology import Topology
    from kanwa_shared.messaging.wire import event_message
    from kanwa_shared.settings import BaseServiceSettings
    from kanwa_shared.store import commit as committing
    from kanwa_shared.store import resources

    prepared: ContextVar[str | None] = ContextVar("prepared", default=None)
    encode, commit = committing.encode, committing.commit

    def encode_once(changes: Any, *, base_url: str = "") -> str:
        return prepared.get() or encode(changes, base_url=base_url)

    async def announce(connection: Any, changes: Any, argument: str) -> None:
        settings = BaseServiceSettings.load()
        rows = msgspec.json.decode(argument)["outbox"]
        sequence = (await outbox_status(connection)).last_sequence
        async with Publisher(str(settings.amqp_url), name="sabotage") as publisher:
            await publisher.wait_ready()
            for row in rows:
                sequence += 1
                write = changes.writes[(row["t"], row["id"])]
                event = _event(row, write, changes, sequence)
                await publisher.publish(event_message(event, Topology([])))

    async def rash(connection: Any, changes: Any, *, base_url: str = "") -> None:
        if not any(resource_type == "Patient" for resource_type, _ in changes.writes):
            await commit(connection, changes, base_url=base_url)
            return
        argument = encode(changes, base_url=base_url)
        await announce(connection, changes, argument)
        await hesitate(sign)
        token = prepared.set(argument)
        try:
            await commit(connection, changes, base_url=base_url)
        finally:
            prepared.reset(token)

    committing.encode = encode_once
    resources.commit = rash
    # Every commit goes the way that is broken here.
    resources.may_go_together = lambda changes: False


def _event(row: dict[str, Any], write: Any, changes: Any, sequence: int) -> Any:
    from kanwa_shared.messaging.envelope import Event

    return Event.of(
        id=row["event_id"],
        service="intake",
        resource_type=write.resource_type,
        resource_id=write.id,
        version=write.version,
        interaction=write.interaction,
        time=changes.now,
        sequence=sequence,
        body=write.body,
        traceparent=changes.traceparent,
        correlation_id=changes.correlation_id,
        actor=changes.actor,
    )


def forget_what_was_received(_: Path) -> None:
    """A board without an inbox; what is given to its log twice stands there twice."""
    from kanwa_mdt.store import log

    receive, values = log.receive, log._values

    async def everything(connection: Any, consumer: str, events: Any) -> set[str]:
        """Enters what it receives, and does not look whether it had been there."""
        await receive(connection, consumer, events)
        return {event.id for event in events}

    def another_key(position: int, row: Any) -> tuple[Any, ...]:
        # The log's own key would refuse the second row; a log without an inbox would not have one.
        found = list(values(position, row))
        found[1] = str(uuid4())
        return tuple(found)

    log.receive = everything
    log._values = another_key


PROMISES: Final[dict[str, Callable[[Path], None]]] = {
    "acknowledge-before-commit": acknowledge_before_commit,
    "publish-before-commit": publish_before_commit,
    "no-inbox": forget_what_was_received,
}


def main() -> None:
    """Break the promise, then be kanwa."""
    promise, sign, *arguments = sys.argv[1:]
    PROMISES[promise](Path(sign))
    from kanwa.cli import app

    app(arguments, prog_name="kanwa")


if __name__ == "__main__":
    main()

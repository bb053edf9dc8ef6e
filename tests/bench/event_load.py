"""What both sides of the event bench share: the messages, the INSERT, the clock."""

import asyncio
import json
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from kanwa_shared.messaging.envelope import Event
from kanwa_shared.messaging.topology import Binding, Topology

CONSUMER: Final = "mdt"
TOPOLOGY: Final = Topology([Binding(CONSUMER, ("#",))])
QUEUE: Final = TOPOLOGY.queue(CONSUMER)
BODY_BYTES: Final = 2000
TRACEPARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

#: The effect of a consumer: its inbox row and one row of its own, in one commit and one round trip.
EFFECT: Final = """
WITH received AS (
    INSERT INTO inbox (consumer, event_id, received_at) VALUES ('mdt', %s, now()) ON CONFLICT DO NOTHING
    RETURNING event_id
)
INSERT INTO bench_effect (event_id, body) SELECT event_id, %s FROM received
"""
EFFECT_TABLE: Final = "CREATE TABLE bench_effect (event_id uuid, body text)"
#: Versions with their outbox rows, as commits leave them.
FILL_OUTBOX: Final = """
WITH given AS (SELECT n, 'bench-' || %(batch)s || '-' || n AS id FROM generate_series(1, %(count)s) AS n),
versions AS (
    INSERT INTO resource_version (resource_type, id, version, last_updated, interaction, body)
    SELECT 'Task', id, 1, now(), 'create', %(body)s FROM given
)
INSERT INTO outbox (event_id, kind, resource_type, resource_id, version, interaction, occurred_at, traceparent)
SELECT gen_random_uuid(), 'event', 'Task', id, 1, 'create', now(), %(traceparent)s FROM given ORDER BY n
"""


def body() -> str:
    """A resource's text of 2 kB."""
    return json.dumps({"resourceType": "Task", "description": "x" * (BODY_BYTES - 50)})


def some_events(count: int) -> Iterator[Event]:
    """Events of different resources."""
    text = body().encode()
    for number in range(1, count + 1):
        yield Event.of(
            id=str(uuid4()),
            service="intake",
            resource_type="Task",
            resource_id=f"bench-{number}",
            version=1,
            interaction="create",
            time=datetime.now(UTC),
            sequence=number,
            body=text,
            traceparent=TRACEPARENT,
        )


@dataclass(slots=True)
class Stopwatch:
    """Wall clock and this process's CPU from `start` to `stopped`."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    count: int = 0
    _began: tuple[float, float] = field(default_factory=lambda: (time.perf_counter(), time.process_time()))

    def start(self) -> None:
        """Begin here, not at the making."""
        self._began = (time.perf_counter(), time.process_time())

    def stopped(self, count: int) -> "Stopwatch":
        """`count` events were done by now."""
        self.seconds = time.perf_counter() - self._began[0]
        self.cpu_seconds = time.process_time() - self._began[1]
        self.count = count
        return self


def run(work: "Coroutine[Any, Any, Stopwatch]") -> None:
    """Run in a process of its own and print what was measured."""
    watch = asyncio.run(work)
    print(json.dumps({"seconds": watch.seconds, "cpu_seconds": watch.cpu_seconds, "count": watch.count}))  # noqa: T201  # read by the bench

"""One service in this process; the test plays its worker, the broker and the other services."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import uuid4

import httpx

from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.messaging.envelope import Ack, Event, HandOver
from kanwa_shared.rest.app import create_app
from kanwa_shared.rest.engine import Engine
from kanwa_shared.rest.reactions import Reactions
from kanwa_shared.rest.service import ServiceDefinition
from kanwa_shared.settings import BaseServiceSettings

Tree = dict[str, Any]

BASE: Final = "http://kanwa.test/fhir"
JSON: Final = {"content-type": "application/fhir+json"}

_OUTBOX: Final = """
    SELECT o.id, o.event_id::text, o.kind, o.resource_type, o.resource_id, o.version, o.interaction, o.target,
           coalesce(o.payload, v.body)
    FROM outbox o LEFT JOIN resource_version v
         ON (v.resource_type, v.id, v.version) = (o.resource_type, o.resource_id, o.version)
    WHERE o.id > %s ORDER BY o.id"""


class OutboxRow(NamedTuple):
    """An event or a hand-over that the service has committed, with its resource's text."""

    id: int
    event_id: str
    kind: str
    resource_type: str
    resource_id: str
    version: int
    interaction: str
    target: str | None
    body: str | None

    @property
    def reference(self) -> str:
        return f"{self.resource_type}/{self.resource_id}"


@dataclass
class OneService:
    """The running service: `client` speaks FHIR to it."""

    client: httpx.AsyncClient
    engine: Engine
    _versions: dict[str, int] = field(default_factory=dict[str, int])
    _delivered: int = 0

    async def send(self, tree: Tree, status: int | None = None) -> httpx.Response:
        """POST a resource without id, PUT one with it; the answer, which must have `status` if one is given."""
        url = f"{tree['resourceType']}/{tree['id']}" if "id" in tree else tree["resourceType"]
        method = "PUT" if "id" in tree else "POST"
        answer = await self.client.request(method, url, content=dumps(tree), headers=JSON)
        assert status in (None, answer.status_code), answer.text
        return answer

    async def read(self, reference: str) -> Tree:
        """A resource that must be there."""
        answer = await self.client.get(reference)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def replicate(
        self, tree: Tree, *, service: str = "intake", times: int = 1, version: int | None = None
    ) -> Event:
        """Deliver the next version (or the one given) of another service's resource, as its event would."""
        reference = f"{tree['resourceType']}/{tree['id']}"
        version = version or self._versions.get(reference, 0) + 1
        self._versions[reference] = max(version, self._versions.get(reference, 0))
        kind = "create" if version == 1 else "update"
        event = _event(service, tree["resourceType"], tree["id"], version, kind, dumps(tree))
        await self._hear(event, times)
        return event

    async def hand_over(self, tree: Tree) -> Any:
        """Deliver a resource that a client was promised; the consumer's answer."""
        hand_over = HandOver(
            id=str(uuid4()),
            source="https://kanwa.example/intake",
            time=datetime.now(UTC),
            target=self.engine.definition.name,
            interaction="create",
            resource_type=tree["resourceType"],
            resource_id=tree["id"],
            body=dumps(tree),
        )
        return await Reactions(self.engine).on_hand_over(hand_over)

    async def hear(self, row: OutboxRow, *, times: int = 1) -> None:
        """Deliver one of its own events to it, with what follows from it; `times` copies of it."""
        service, body = self.engine.definition.name, row.body and row.body.encode()
        event = _event(
            service, row.resource_type, row.resource_id, row.version, row.interaction, body, row.event_id
        )
        await self._hear(event, times)

    async def undelivered(self) -> list[OutboxRow]:
        """What it has committed since the row that was delivered last."""
        async with self.engine.store.pool.connection() as connection:
            cursor = await connection.execute(_OUTBOX, (self._delivered,))
            return [OutboxRow(*row) for row in await cursor.fetchall()]

    async def _hear(self, event: Event, times: int) -> None:
        for _ in range(times):
            assert await Reactions(self.engine).on_event(event) == Ack()


@asynccontextmanager
async def serving(
    definition: ServiceDefinition, settings: BaseServiceSettings
) -> AsyncIterator[tuple[httpx.AsyncClient, Engine]]:
    """The service over a database that has its tables, and a client at its base."""
    app = create_app(definition, settings, peers={})
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=f"{BASE}/", timeout=60) as client:
            yield client, app.state.engine


def _event(
    service: str,
    resource_type: str,
    id: str,
    version: int,
    interaction: str,
    body: bytes | None,
    event_id: str | None = None,
) -> Event:
    return Event.of(
        id=event_id or str(uuid4()),
        service=service,
        resource_type=resource_type,
        resource_id=id,
        version=version,
        interaction=interaction,
        time=datetime.now(UTC),
        sequence=1,
        body=body,
    )

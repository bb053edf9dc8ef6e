"""The intake service in this process; the test plays its worker, the broker and the other services."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

import httpx

from kanwa_intake.application.deliver_notifications import NotificationSender
from kanwa_intake.service import definition
from kanwa_intake.settings import IntakeSettings
from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.messaging.envelope import Ack, Event
from kanwa_shared.rest.app import create_app
from kanwa_shared.rest.engine import Engine
from kanwa_shared.rest.reactions import Reactions

Tree = dict[str, Any]

BASE: Final = "http://kanwa.test/fhir"
JSON: Final = {"content-type": "application/fhir+json"}

_OUTBOX: Final = """
    SELECT o.id, o.event_id::text, o.resource_type, o.resource_id, o.version, o.interaction, v.body
    FROM outbox o LEFT JOIN resource_version v
         ON (v.resource_type, v.id, v.version) = (o.resource_type, o.resource_id, o.version)
    WHERE o.id > %s AND o.kind = 'event' ORDER BY o.id"""


@dataclass
class Clock:
    """A clock that the test moves: what the machine's clock says, and so much more."""

    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Intake:
    """The running service: `client` speaks FHIR to it."""

    client: httpx.AsyncClient
    engine: Engine
    _versions: dict[str, int] = field(default_factory=dict[str, int])
    _delivered: int = 0

    async def write(self, tree: Tree, status: int | None = None) -> Tree:
        """POST a resource without id, PUT one with it; the answer's body."""
        url = f"{tree['resourceType']}/{tree['id']}" if "id" in tree else tree["resourceType"]
        method = "PUT" if "id" in tree else "POST"
        answer = await self.client.request(method, url, content=dumps(tree), headers=JSON)
        assert status in (None, answer.status_code), answer.text
        return answer.json()

    async def read(self, reference: str) -> Tree:
        answer = await self.client.get(reference)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def replicate(
        self, tree: Tree, *, service: str, times: int = 1, version: int | None = None
    ) -> None:
        """Deliver the next version (or the one given) of another service's resource, as its event would."""
        reference = f"{tree['resourceType']}/{tree['id']}"
        version = version or self._versions.get(reference, 0) + 1
        self._versions[reference] = max(version, self._versions.get(reference, 0))
        kind = "create" if version == 1 else "update"
        event = _event(service, tree["resourceType"], tree["id"], version, kind, dumps(tree))
        for _ in range(times):
            assert await Reactions(self.engine).on_event(event) == Ack()

    async def hear_itself(self, *, times: int = 1) -> None:
        """Deliver its own events to it, with what follows from them."""
        while rows := await self._undelivered():
            for id, event_id, resource_type, resource_id, version, interaction, body in rows:
                self._delivered = id
                text = body.encode() if body is not None else None
                event = _event("intake", resource_type, resource_id, version, interaction, text, event_id)
                for _ in range(times):
                    assert await Reactions(self.engine).on_event(event) == Ack()

    async def written_events(self) -> list[str]:
        """Texts of the resources in its events that nobody has heard yet."""
        return [body for *_, body in await self._undelivered() if body is not None]

    @asynccontextmanager
    async def sending(
        self, clock: Callable[[], datetime] | None = None, **options: Any
    ) -> AsyncIterator[None]:
        """Send notifications as long as the block runs, as a worker does."""
        stop = asyncio.Event()
        sender = NotificationSender(self.engine, clock=clock or Clock(), poll_seconds=0.02, **options)
        task = asyncio.create_task(sender.run(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def _undelivered(self) -> list[tuple[Any, ...]]:
        async with self.engine.store.pool.connection() as connection:
            cursor = await connection.execute(_OUTBOX, (self._delivered,))
            return await cursor.fetchall()


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


@asynccontextmanager
async def intake(database_url: str, **settings: Any) -> AsyncIterator[Intake]:
    """The service over a database that has its tables; notifications may go to loopback."""
    given = {
        "database_url": database_url,
        "auth_mode": "open",
        "base_url": BASE,
        "subscription_networks": "127.0.0.0/8 ::1/128",
        **settings,
    }
    app = create_app(definition, IntakeSettings(**given), peers={})
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=f"{BASE}/", timeout=60) as client:
            yield Intake(client, app.state.engine)

"""The outcomes service in this process; the test plays intake, scheduling and the broker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from unittest.mock import patch
from uuid import uuid4

import httpx

from kanwa_outcomes.service import definition
from kanwa_outcomes.settings import OutcomesSettings
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.json_text import dumps, parse
from kanwa_shared.messaging.envelope import Ack, Event, HandOver
from kanwa_shared.rest.app import create_app
from kanwa_shared.rest.engine import Engine, Origin
from kanwa_shared.rest.reactions import Reactions

Tree = dict[str, Any]

JSON: Final = {"content-type": "application/fhir+json"}
ROUNDS: Final = 20

_OUTBOX: Final = """
    SELECT o.id, o.event_id::text, o.kind, o.resource_type, o.resource_id, o.version, o.interaction, o.payload,
           v.body, o.target
    FROM outbox o LEFT JOIN resource_version v
         ON (v.resource_type, v.id, v.version) = (o.resource_type, o.resource_id, o.version)
    WHERE o.id > %s ORDER BY o.id"""


@dataclass
class Outcomes:
    """The running service: `client` speaks FHIR to it.

    `handed_over` holds what it asked others to write, by reference, as they hold it now; `events` counts its own
    events by reference.
    """

    client: httpx.AsyncClient
    engine: Engine
    handed_over: dict[str, Tree] = field(default_factory=dict[str, Tree])
    events: dict[str, int] = field(default_factory=dict[str, int])
    _versions: dict[str, int] = field(default_factory=dict[str, int])
    _delivered: int = 0

    async def replicate(self, tree: Tree, *, service: str = "intake", times: int = 1) -> Event:
        """Deliver the next version of another service's resource, as its event would; `times` copies of it."""
        reference = f"{tree['resourceType']}/{tree['id']}"
        version = self._versions[reference] = self._versions.get(reference, 0) + 1
        event = _event(service, tree["resourceType"], tree["id"], version, dumps(tree))
        for _ in range(times):
            assert await Reactions(self.engine).on_event(event) == Ack()
        return event

    async def settle(self, *, times: int = 1) -> None:
        """Deliver all that is in the outbox, own events and hand-overs with what follows from them."""
        for _ in range(ROUNDS):
            rows = await self._undelivered()
            if not rows:
                return
            for row in rows:
                self._delivered = row[0]
                await (self._deliver(row, times) if row[2] == "event" else self._take(row))
        raise AssertionError(f"the service is not quiet after {ROUNDS} rounds")

    async def hand_over(self, tree: Tree) -> Any:
        """Deliver a resource that a client was promised; the consumer's answer."""
        hand_over = HandOver(
            id=str(uuid4()),
            source="https://kanwa.example/intake",
            time=datetime.now(UTC),
            target="outcomes",
            interaction="create",
            resource_type=tree["resourceType"],
            resource_id=tree["id"],
            body=dumps(tree),
        )
        return await Reactions(self.engine).on_hand_over(hand_over)

    async def close_overdue(self, *, after: timedelta) -> None:
        """Run the periodic work as if it were so much later."""
        later = datetime.now(UTC) + after
        (job,) = definition.periodic
        with patch("kanwa_shared.rest.engine.utc_now", lambda: later):
            await self.engine.perform(Origin(), job.run)
            await self.settle()

    async def write(self, tree: Tree, status: int | None = None) -> httpx.Response:
        """POST a resource without id, PUT one with it."""
        url = f"{tree['resourceType']}/{tree['id']}" if "id" in tree else tree["resourceType"]
        method = "PUT" if "id" in tree else "POST"
        answer = await self.client.request(method, url, content=dumps(tree), headers=JSON)
        assert status in (None, answer.status_code), answer.text
        return answer

    async def search(self, resource_type: str, **parameters: str) -> list[Tree]:
        """The resources that a search finds; `_` in names stands for `-`."""
        query = {name.replace("_", "-"): value for name, value in parameters.items()}
        answer = await self.client.get(resource_type, params=query)
        assert answer.status_code == 200, answer.text
        return [entry["resource"] for entry in answer.json().get("entry", [])]

    async def derived(self, kind: str = "jivrosg-response", subject: str = "Patient/p") -> list[Tree]:
        """The derived Observations of a kind."""
        return await self.search("Observation", code=f"{codes.OUTCOME}|{kind}", subject=subject)

    def of_type(self, resource_type: str) -> list[Tree]:
        """What others hold of a type because this service handed it over."""
        return [tree for ref, tree in self.handed_over.items() if ref.startswith(f"{resource_type}/")]

    async def _undelivered(self) -> list[tuple[Any, ...]]:
        async with self.engine.store.pool.connection() as connection:
            cursor = await connection.execute(_OUTBOX, (self._delivered,))
            return await cursor.fetchall()

    async def _deliver(self, row: tuple[Any, ...], times: int) -> None:
        _, event_id, _, resource_type, id, version, interaction, _, body, _ = row
        reference = f"{resource_type}/{id}"
        self.events[reference] = self.events.get(reference, 0) + 1
        event = _event("outcomes", resource_type, id, version, body and body.encode(), event_id, interaction)
        for _ in range(times):
            assert await Reactions(self.engine).on_event(event) == Ack()

    async def _take(self, row: tuple[Any, ...]) -> None:
        """Play intake: keep what was handed over, and tell of it; what is there already is not created again."""
        _, _, _, resource_type, id, _, interaction, payload, _, target = row
        assert target == "intake"
        reference = f"{resource_type}/{id}"
        if interaction == "create" and reference in self.handed_over:
            return
        self.handed_over[reference] = parse(payload.encode())
        await self.replicate(self.handed_over[reference])


def _event(
    service: str,
    resource_type: str,
    id: str,
    version: int,
    body: bytes | None,
    event_id: str | None = None,
    interaction: str | None = None,
) -> Event:
    return Event.of(
        id=event_id or str(uuid4()),
        service=service,
        resource_type=resource_type,
        resource_id=id,
        version=version,
        interaction=interaction or ("create" if version == 1 else "update"),
        time=datetime.now(UTC),
        sequence=1,
        body=body,
    )


@asynccontextmanager
async def running(database_url: str, **settings: Any) -> AsyncIterator[Outcomes]:
    """The service over a database that has its tables."""
    given = {
        "database_url": database_url,
        "auth_mode": "open",
        "base_url": "http://kanwa.test/fhir",
        **settings,
    }
    app = create_app(definition, OutcomesSettings(**given), peers={})
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://kanwa.test/fhir/", timeout=60
        ) as client:
            yield Outcomes(client, app.state.engine)

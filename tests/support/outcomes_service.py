"""The outcomes service in this process; the test plays intake, scheduling and the broker."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from unittest.mock import patch

import httpx

from kanwa_outcomes.service import definition
from kanwa_outcomes.settings import OutcomesSettings
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.json_text import parse
from kanwa_shared.rest.engine import Origin
from tests.support.one_service import BASE, OneService, OutboxRow, Tree, serving

ROUNDS: Final = 20


@dataclass
class Outcomes(OneService):
    """The running service: `client` speaks FHIR to it.

    `handed_over` holds what it asked others to write, by reference, as they hold it now; `events` counts its own
    events by reference.
    """

    handed_over: dict[str, Tree] = field(default_factory=dict[str, Tree])
    events: dict[str, int] = field(default_factory=dict[str, int])

    async def settle(self, *, times: int = 1) -> None:
        """Deliver all that is in the outbox, own events and hand-overs with what follows from them."""
        for _ in range(ROUNDS):
            rows = await self.undelivered()
            if not rows:
                return
            for row in rows:
                self._delivered = row.id
                await (self._deliver(row, times) if row.kind == "event" else self._take(row))
        raise AssertionError(f"the service is not quiet after {ROUNDS} rounds")

    async def close_overdue(self, *, after: timedelta) -> None:
        """Run the periodic work as if it were so much later."""
        later = datetime.now(UTC) + after
        (job,) = definition.periodic
        with patch("kanwa_shared.rest.engine.utc_now", lambda: later):
            await self.engine.perform(Origin(), job.run)
            await self.settle()

    async def write(self, tree: Tree, status: int | None = None) -> httpx.Response:
        """POST a resource without id, PUT one with it."""
        return await self.send(tree, status)

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

    async def _deliver(self, row: OutboxRow, times: int) -> None:
        self.events[row.reference] = self.events.get(row.reference, 0) + 1
        await self.hear(row, times=times)

    async def _take(self, row: OutboxRow) -> None:
        """Play intake: keep what was handed over, and tell of it; what is there already is not created again."""
        assert row.target == "intake"
        if row.interaction == "create" and row.reference in self.handed_over:
            return
        assert row.body is not None
        self.handed_over[row.reference] = parse(row.body.encode())
        await self.replicate(self.handed_over[row.reference])


@asynccontextmanager
async def running(database_url: str, **settings: Any) -> AsyncIterator[Outcomes]:
    """The service over a database that has its tables."""
    given = {"database_url": database_url, "auth_mode": "open", "base_url": BASE, **settings}
    async with serving(definition, OutcomesSettings(**given)) as (client, engine):
        yield Outcomes(client, engine)

"""The intake service in this process; the test plays its worker, the broker and the other services."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kanwa_intake.application.deliver_notifications import NotificationSender
from kanwa_intake.service import definition
from kanwa_intake.settings import IntakeSettings
from tests.support.one_service import BASE, OneService, Tree, serving


@dataclass
class Clock:
    """A clock that the test moves: what the machine's clock says, and so much more."""

    ahead: timedelta = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Intake(OneService):
    """The running service: `client` speaks FHIR to it."""

    async def write(self, tree: Tree, status: int | None = None) -> Tree:
        """POST a resource without id, PUT one with it; the answer's body."""
        return (await self.send(tree, status)).json()

    async def hear_itself(self, *, times: int = 1) -> None:
        """Deliver its own events to it, with what follows from them."""
        while rows := await self.undelivered():
            for row in rows:
                self._delivered = row.id
                if row.kind == "event":
                    await self.hear(row, times=times)

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
    async with serving(definition, IntakeSettings(**given)) as (client, engine):
        yield Intake(client, engine)

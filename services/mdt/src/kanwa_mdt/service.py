"""The board as the assembly needs it: its application, its consumer, its tables.

app = create_app(settings)                       # serves /, /cases, /events
handler = event_handler(pool, redis)             # one for each worker process
Subscriber(CONSUMER_NAME, BINDINGS, pool, handler)
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from psycopg import AsyncConnection

from kanwa_mdt.application.follow import poker
from kanwa_mdt.application.project import Pool, Projection
from kanwa_mdt.application.rebuild import rebuild
from kanwa_mdt.settings import MdtSettings
from kanwa_mdt.store.retention import superseded_rows
from kanwa_mdt.web.application import create_app
from kanwa_shared.messaging.envelope import EventHandler

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = [
    "BINDINGS",
    "CONSUMER_NAME",
    "MIGRATIONS",
    "MdtSettings",
    "create_app",
    "end_streams",
    "event_handler",
    "rebuild",
    "retention",
]

CONSUMER_NAME: Final = "mdt"
#: Everything that any service publishes.
BINDINGS: Final = ("#",)
MIGRATIONS: Final = Path(__file__).parent / "migrations"


def end_streams(app: FastAPI) -> None:
    """End the event streams of an application, before its server is told to stop by other means than a signal."""
    app.state.tail.end()


def retention(settings: MdtSettings) -> list[Callable[[AsyncConnection[Any]], Awaitable[int]]]:
    """What the worker deletes of the log when its time is over, batch by batch."""
    return [superseded_rows(timedelta(days=settings.event_log_retention_days))]


def event_handler(pool: Pool, redis: "Redis | None") -> EventHandler:
    """What the consumer calls for each event: inbox, log and read models in one commit, then a poke to readers.

    Without `redis` readers look for themselves every second.
    """
    return Projection(pool, CONSUMER_NAME, poker(redis)).on_event

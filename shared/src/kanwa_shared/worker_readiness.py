"""What a worker's `/ready` says: its database, its broker, its relay's lease, its consumer's subscription."""

import asyncio
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.messaging.consumer import Consumer
from kanwa_shared.messaging.deliveries import Pool
from kanwa_shared.messaging.publisher import Publisher
from kanwa_shared.messaging.relay import Relay

_STARTING: Final = {"status": "starting"}


class WorkerReadiness:
    """Filled by the worker when it begins. `timeout_seconds` bounds the question to the database."""

    def __init__(self, timeout_seconds: float):
        self._timeout_seconds = timeout_seconds
        self._pool: Pool | None = None
        self._publisher: Publisher | None = None
        self._relay: Relay | None = None
        self._consumer: Consumer | None = None

    def watch(self, pool: Pool, publisher: Publisher, consumer: Consumer, relay: Relay | None = None) -> None:
        """These do the work; the board's worker has no relay."""
        self._pool, self._publisher, self._consumer, self._relay = pool, publisher, consumer, relay

    async def ready(self, _: Request) -> Response:
        """200 `ready`, or `degraded` while the broker is away: what is committed waits and drains; else 503.

        `relay` is `active`, or `standby` while another worker of the service has the lease, which is as it should
        be; `consumer` is `subscribed` in every worker, and the broker feeds one of them.
        """
        if self._pool is None or self._publisher is None or self._consumer is None:
            return _answer(503, _STARTING)
        try:
            # Around the query too: a database that is paused takes it and never answers.
            async with asyncio.timeout(self._timeout_seconds), self._pool.connection() as connection:
                await connection.execute("SELECT 1")
        except Exception as error:  # whatever it is, the answer is that the database is not there
            return _answer(503, {"status": "unavailable", "database": type(error).__name__})
        works = self._publisher.ready and self._consumer.subscribed
        broker = "ok" if works else "blocked" if self._publisher.blocked else "away"
        content: dict[str, Any] = {
            "status": "ready" if works else "degraded",
            "database": "ok",
            "broker": broker,
            "consumer": "subscribed" if self._consumer.subscribed else "away",
        }
        if self._relay is not None:
            content["relay"] = "active" if self._relay.active else "standby"
        return _answer(200, content)


def _answer(status: int, content: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")

"""A Redis inside this process, for the embedded run: what it holds may be lost, so none of it is on disk."""

from typing import TYPE_CHECKING, Final

import fakeredis

if TYPE_CHECKING:
    from redis.asyncio import Redis

REDIS_VERSION: Final = (7,)  # the oldest major version that a deployment may use


class EmbeddedRedis:
    """One keyspace; every client that it gives out sees the same keys and channels."""

    def __init__(self) -> None:
        self._server = fakeredis.FakeServer(version=REDIS_VERSION)

    def client(self, *, decode_responses: bool = False) -> "Redis":
        """Give a client with the interface of `redis.asyncio.Redis`; the caller closes it."""
        return fakeredis.FakeAsyncRedis(server=self._server, decode_responses=decode_responses)

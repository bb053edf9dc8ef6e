"""Reading another service's log of events over HTTP, as `rest/event_log.py` gives it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import httpx
import msgspec

from kanwa_shared.messaging.envelope import Event, MalformedEnvelope

BATCH_TYPE: Final = "application/cloudevents-batch+json"
LAST_HEADER: Final = "Kanwa-Last-Sequence"
PUBLISHED_HEADER: Final = "Kanwa-Published-Sequence"

_batch: Final = msgspec.json.Decoder(list[msgspec.Raw])


class SourceLogUnavailable(Exception):
    """The source did not answer with a page; the message says why, without patient data."""


class ResourceGone(SourceLogUnavailable):
    """A version that an event of the page names is gone: asked with its resource, the event never comes."""


@dataclass(frozen=True, slots=True)
class SourcePage:
    """Events in order of sequence; the source has numbered up to `last`, the broker confirmed up to `published`."""

    events: list[Event]
    last: int
    published: int


class SourceLogs(Protocol):
    """The logs of the sources that a consumer listens to."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The services that can be asked."""
        ...

    async def page(self, source: str, after: int, limit: int, *, with_resources: bool) -> SourcePage:
        """Events of `source` with a sequence above `after`; raises SourceLogUnavailable, ResourceGone."""
        ...


class HttpSourceLogs:
    """Asks `GET <url>/events` of each source; `password` is KANWA_EVENTS_PASSWORD where authentication is on."""

    def __init__(self, client: httpx.AsyncClient, urls: Mapping[str, str], password: str | None) -> None:
        self._client = client
        self._urls = urls
        self._headers = {} if password is None else {"authorization": f"Bearer {password}"}

    @property
    def sources(self) -> tuple[str, ...]:
        """The services that can be asked."""
        return tuple(self._urls)

    async def page(self, source: str, after: int, limit: int, *, with_resources: bool) -> SourcePage:
        """Events of `source` with a sequence above `after`; raises SourceLogUnavailable, ResourceGone."""
        query = {"after": str(after), "limit": str(limit), "data": "resource" if with_resources else "none"}
        try:
            answer = await self._client.get(self._urls[source], params=query, headers=self._headers)
        except httpx.HTTPError as error:
            raise SourceLogUnavailable(type(error).__name__) from error
        if answer.status_code == 410:
            raise ResourceGone("status 410")
        if answer.status_code != 200:
            raise SourceLogUnavailable(f"status {answer.status_code}")
        try:
            events = [Event.from_cloudevent(bytes(raw)) for raw in _batch.decode(answer.content)]
            return SourcePage(events, int(answer.headers[LAST_HEADER]), int(answer.headers[PUBLISHED_HEADER]))
        except (msgspec.DecodeError, MalformedEnvelope, KeyError, ValueError) as error:
            raise SourceLogUnavailable(f"not a page of events: {type(error).__name__}") from error

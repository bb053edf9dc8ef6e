"""`/events`: the log as Server-Sent Events.

`id` is the position in the log, `event` the CloudEvents type, `data` the CloudEvent. A client that names the
last position it has seen gets everything after it, however long it was away; one that names none starts with
what comes.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Final

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.requests import Request
from starlette.responses import Response

from kanwa_mdt.application.follow import Tail
from kanwa_mdt.domain.case import Stage
from kanwa_mdt.store.log import Filter, LogRow
from kanwa_mdt.web.access import seconds_left, token_of
from kanwa_shared.errors import Invalid, Issue
from kanwa_shared.messaging.envelope import Event

RETRY_MILLISECONDS: Final = 2000
#: Events are put together to writes of about this size: a reader costs a write for each, not for each event.
CHUNK_BYTES: Final = 65_536
_PARAMETERS: Final = frozenset({"patient", "type", "stage", "site", "last-event-id", "after", "data"})

# It writes every chunk to its debug log, and chunks hold patient data.
logging.getLogger("sse_starlette").setLevel(logging.WARNING)


async def stream_events(request: Request) -> Response:
    """GET /events. 400 with an OperationOutcome for a parameter that is unknown or not understood, 410 for a position
    after which the log is not complete any more."""
    tail: Tail = request.app.state.tail
    wanted, after, with_data = _asked(request)
    start = await tail.last() if after is None else await tail.within(after)
    # What a caller may no longer ask for is no longer told either.
    signs_in = request.app.state.authenticator is not None
    left = seconds_left(token_of(request)) if signs_in else None
    return EventSourceResponse(
        _until(_events(tail, request.app.state.blocks, start, wanted, with_data=with_data), left),
        ping=request.app.state.settings.heartbeat_seconds,
        ping_message_factory=lambda: ServerSentEvent(comment="heartbeat", sep="\n"),
        sep="\n",
    )


async def _events(
    tail: Tail, blocks: "Blocks", position: int, wanted: Filter, *, with_data: bool
) -> AsyncGenerator[bytes]:
    """One page at a time, and the next only when the reader took this one: a slow reader costs no memory.

    Who falls behind the newest rows goes on from the database, at its own pace.
    """
    yield ServerSentEvent(comment=f"from {position}", retry=RETRY_MILLISECONDS, sep="\n").encode()
    while not tail.ended:
        chunks, position = await blocks.after(position, wanted, with_data=with_data)
        for chunk in chunks:
            yield chunk
        if not chunks:
            await tail.grown(position)


class Blocks:
    """What readers are sent, written out once for all who stand at the same place and want the same.

    Most readers are up to date, so they wake together, and all but the first find it done.
    """

    def __init__(self, tail: Tail):
        self._tail = tail
        self._end = 0
        self._written: dict[tuple[int, Filter, bool], tuple[Sequence[bytes], int]] = {}

    async def after(self, position: int, wanted: Filter, *, with_data: bool) -> tuple[Sequence[bytes], int]:
        """Chunks of whole events after a position, and the position up to which they reach."""
        if self._end != self._tail.position:
            self._end = self._tail.position
            self._written.clear()
        key = (position, wanted, with_data)
        if key in self._written:
            return self._written[key]
        rows, reached = await self._tail.read(position, wanted)
        written = _chunks(rows, with_data), reached
        # A page of the database is one reader's; only what ends at the end is shared.
        if reached == self._end == self._tail.position:
            self._written[key] = written
        return written


def _chunks(rows: Sequence[LogRow], with_data: bool) -> list[bytes]:
    chunks: list[bytes] = []
    gathered = bytearray()
    for row in rows:
        event = ServerSentEvent(data=_data(row, with_data), event=row.type, id=str(row.position), sep="\n")
        gathered += event.encode()
        if len(gathered) >= CHUNK_BYTES:
            chunks.append(bytes(gathered))
            gathered.clear()
    return [*chunks, bytes(gathered)] if gathered else chunks


async def _until(events: AsyncGenerator[bytes], seconds: float | None) -> AsyncGenerator[bytes]:
    """The events until so many seconds have passed; None: as long as the reader stays."""
    end = None if seconds is None else asyncio.get_running_loop().time() + seconds
    async with aclosing(events):
        while True:
            try:
                async with asyncio.timeout_at(end):
                    event = await anext(events)
            except (TimeoutError, StopAsyncIteration):
                return
            yield event


def _data(row: LogRow, with_data: bool) -> str:
    if with_data:
        return row.envelope
    return Event.from_cloudevent(row.envelope.encode()).to_cloudevent(include_resource=False).decode()


def _asked(request: Request) -> tuple[Filter, int | None, bool]:
    issues = [
        Issue("not-supported", f"/events has no parameter '{name}'; it has {', '.join(sorted(_PARAMETERS))}")
        for name in sorted(set(request.query_params) - _PARAMETERS)
    ]
    stages = frozenset(_values(request, "stage"))
    known = {stage.value for stage in Stage}
    issues += [
        Issue("code-invalid", f"'{name}' is no stage; stages are {', '.join(known)}")
        for name in sorted(stages - known)
    ]
    after = _position(request, issues)
    shown = request.query_params.get("data", "resource")
    if shown not in {"resource", "none"}:
        issues.append(
            Issue("value", "data is 'resource' (the whole CloudEvent) or 'none' (without the resource)")
        )
    if issues:
        raise Invalid(issues)
    patients = frozenset(_reference("Patient", value) for value in _values(request, "patient"))
    sites = frozenset(_reference("Location", value) for value in _values(request, "site"))
    return Filter(patients, tuple(_values(request, "type")), stages, sites), after, shown == "resource"


def _position(request: Request, issues: list[Issue]) -> int | None:
    """A header wins over a parameter: it is what a browser sends when it connects again."""
    query = request.query_params
    given = request.headers.get("last-event-id") or query.get("last-event-id") or query.get("after")
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        issues.append(
            Issue("value", f"Last-Event-ID is a position in the log, a whole number, not '{given[:40]}'")
        )
        return None
    return int(given)


def _values(request: Request, name: str) -> list[str]:
    given: Iterable[str] = request.query_params.getlist(name)
    return [value.strip() for listed in given for value in listed.split(",") if value.strip()]


def _reference(resource_type: str, value: str) -> str:
    return value if "/" in value else f"{resource_type}/{value}"

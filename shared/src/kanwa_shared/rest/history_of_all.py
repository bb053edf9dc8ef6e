"""The history of the whole server: each service's own part, joined by time."""

import asyncio
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

import msgspec
from starlette.requests import Request

from kanwa_shared.rest.peers import ask, others
from kanwa_shared.store.history import Mark


@dataclass(frozen=True, slots=True)
class Part:
    """Entries with their marks, the newest first, and how many there are on all pages; None if too many to count."""

    entries: Sequence[tuple[Mark, Any]]
    total: int | None


class _Response(msgspec.Struct):
    etag: str
    last_modified: datetime = msgspec.field(name="lastModified")


class _Entry(msgspec.Struct):
    full_url: str = msgspec.field(name="fullUrl")
    response: _Response


class _Bundle(msgspec.Struct):
    entry: list[msgspec.Raw] = []
    total: int | None = None


_BUNDLE = msgspec.json.Decoder(_Bundle)
_ENTRY = msgspec.json.Decoder(_Entry)


async def parts_of_others(request: Request, parameters: Mapping[str, str], count: int) -> list[Part]:
    """What the other services own of the history, each its newest `count`. Raises Unavailable if one is silent."""
    wanted = {**parameters, "_count": str(count)}
    answers = await asyncio.gather(
        *(ask(request, name, "_history", params=wanted) for name in others(request))
    )
    return [_part(answer.content) for answer in answers]


def _part(body: bytes) -> Part:
    read = _BUNDLE.decode(body)
    return Part([(_mark(entry), entry) for entry in read.entry], read.total)


def _mark(entry: msgspec.Raw) -> Mark:
    read = _ENTRY.decode(entry)
    resource_type, id = read.full_url.split("/")[-2:]
    return Mark(read.response.last_modified, resource_type, id, int(read.response.etag[3:-1]))


def joined(parts: Sequence[Part], count: int) -> Part:
    """The newest `count` entries of all parts and one more, which tells that there is a next page."""
    merged = heapq.merge(*(part.entries for part in parts), key=itemgetter(0), reverse=True)
    totals = [part.total for part in parts]
    return Part(
        [entry for _, entry in zip(range(count + 1), merged, strict=False)],
        None if None in totals else sum(total for total in totals if total is not None),
    )

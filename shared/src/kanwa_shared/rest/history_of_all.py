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
    """Entries with their marks, the newest first, and how many there are on all pages; None if too many to count.

    `more`: there are older ones than these.
    """

    entries: Sequence[tuple[Mark, Any]]
    total: int | None
    more: bool


class _Response(msgspec.Struct):
    etag: str
    last_modified: datetime = msgspec.field(name="lastModified")


class _Entry(msgspec.Struct):
    full_url: str = msgspec.field(name="fullUrl")
    response: _Response


class _Link(msgspec.Struct):
    relation: str


class _Bundle(msgspec.Struct):
    link: list[_Link] = []
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
    more = any(link.relation == "next" for link in read.link)
    return Part([(_mark(entry), entry) for entry in read.entry], read.total, more)


def _mark(entry: msgspec.Raw) -> Mark:
    read = _ENTRY.decode(entry)
    resource_type, id = read.full_url.split("/")[-2:]
    return Mark(read.response.last_modified, resource_type, id, int(read.response.etag[3:-1]))


def joined(parts: Sequence[Part], count: int) -> Part:
    """The newest `count` entries of all parts, or fewer where a part gave fewer: its next ones come first."""
    merged = list(heapq.merge(*(part.entries for part in parts), key=itemgetter(0), reverse=True))
    last = max((part.entries[-1][0] for part in parts if part.more and part.entries), default=None)
    shown = [entry for entry in merged[:count] if last is None or entry[0] >= last]
    totals = [part.total for part in parts]
    return Part(
        shown,
        None if None in totals else sum(total for total in totals if total is not None),
        len(merged) > len(shown) or any(part.more for part in parts),
    )

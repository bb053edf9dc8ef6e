"""history of an instance, a type, the server. See https://hl7.org/fhir/R4/http.html#history.

`GET [base]/[type]/[id]/_history`, `GET [base]/[type]/_history`, `GET [base]/_history`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import Invalid, NotFound
from kanwa_shared.fhir.bundle import Entry, bundle, history_entry
from kanwa_shared.fhir.search.dates import Range, range_of
from kanwa_shared.fhir.validation import RESOURCE_TYPES
from kanwa_shared.ownership import SYSTEM_SERVICE, owner_of
from kanwa_shared.rest.engine import Engine, check_id
from kanwa_shared.rest.history_of_all import Part, joined, parts_of_others
from kanwa_shared.rest.responses import base_url_of, engine_of, fhir_response, negotiate
from kanwa_shared.store.history import (
    EARLIEST,
    LATEST,
    Mark,
    Window,
    count_types_history,
    instance_history,
    types_history,
)
from kanwa_shared.store.stored import StoredResource

NEWEST: Final = 2_147_483_647  # above every version
_KNOWN: Final = frozenset({"_count", "_since", "_at", "_cursor", "_format", "_pretty"})
_CURSOR: Final = re.compile(
    r"(?P<at>\d{4}-\d\d-\d\dT[\d:.]{8,15}Z)/(?P<type>[A-Za-z]{1,64})/(?P<id>[A-Za-z0-9.-]{1,64})/(?P<version>\d{1,9})",
    re.ASCII,
)
_CURSOR_REFUSED: Final = "_cursor is not one that kanwa gave; follow the link next as it is"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a history request asks: `count` entries of `window`, after the entry that `cursor` marks."""

    count: int
    window: Window
    cursor: str | None
    pairs: tuple[tuple[str, str], ...]

    def link(self, url: str, cursor: str | None) -> str:
        """The URL of the same history from `cursor` on."""
        query = [pair for pair in self.pairs if pair[0] != "_cursor"] + (
            [("_cursor", cursor)] if cursor else []
        )
        return url + (f"?{urlencode(query, safe=':/')}" if query else "")


async def history(request: Request) -> Response:
    """All versions of one resource, the newest first; 404 if the id was never used."""
    engine, resource_type, id = (
        engine_of(request),
        request.path_params["resource_type"],
        request.path_params["id"],
    )
    engine.check_owned(resource_type)
    negotiate(request)
    check_id(id)
    asked = _asked(request, engine)
    below = _number(asked.cursor, "_cursor", NEWEST)
    pool = engine.store.pool
    versions, remaining = await instance_history(
        pool, resource_type, id, asked.window, below=below, limit=max(asked.count, 1)
    )
    if not versions and await engine.store.get(resource_type, id) is None:
        raise NotFound(f"there is no {resource_type} with id {id}")
    shown = versions[: asked.count]
    following = str(shown[-1].version) if shown and remaining > len(shown) else None
    total = remaining
    if below != NEWEST:
        _, total = await instance_history(pool, resource_type, id, asked.window, below=NEWEST, limit=1)
    return _response(
        request, f"{resource_type}/{id}/_history", asked, _entries(request, shown), following, total
    )


async def type_history(request: Request) -> Response:
    """All versions of all resources of a type, the newest first."""
    engine, resource_type = engine_of(request), request.path_params["resource_type"]
    engine.check_owned(resource_type)
    negotiate(request)
    asked = _asked(request, engine)
    part = await _own_part(request, engine, [resource_type], asked)
    return _page(request, f"{resource_type}/_history", asked, part)


async def system_history(request: Request) -> Response:
    """All versions of all types, the newest first.

    The service that answers for the whole server asks the others; each of those answers for what it owns.
    """
    engine = engine_of(request)
    negotiate(request)
    asked = _asked(request, engine)
    owned = sorted(name for name in RESOURCE_TYPES if owner_of(name) == engine.definition.name)
    parts = [await _own_part(request, engine, owned, asked)]
    if engine.definition.name == SYSTEM_SERVICE:
        parts += await parts_of_others(request, dict(asked.pairs), asked.count)
    return _page(request, "_history", asked, joined(parts, asked.count))


async def _own_part(request: Request, engine: Engine, types: Sequence[str], asked: Asked) -> Part:
    pool = engine.store.pool
    found = await types_history(pool, types, asked.window, before=_mark(asked.cursor), limit=asked.count + 1)
    marks = [Mark(one.last_updated, one.resource_type, one.id, one.version) for one in found]
    entries = _entries(request, found)
    shown = list(zip(marks, entries, strict=True))[: asked.count]
    total = await count_types_history(pool, types, asked.window)
    return Part(shown, total, len(found) > len(shown))


def _page(request: Request, path: str, asked: Asked, page: Part) -> Response:
    following = _cursor_of(page.entries[-1][0]) if page.entries and page.more else None
    return _response(request, path, asked, [entry for _, entry in page.entries], following, page.total)


def _entries(request: Request, versions: Sequence[StoredResource]) -> list[Entry]:
    base = base_url_of(request)
    return [history_entry(version, base) for version in versions]


def _response(
    request: Request,
    path: str,
    asked: Asked,
    entries: Sequence[Any],
    following: str | None,
    total: int | None,
) -> Response:
    url = f"{base_url_of(request)}/{path}"
    links = {"self": asked.link(url, asked.cursor)}
    if following is not None:
        links["next"] = asked.link(url, following)
    return fhir_response(200, bundle("history", entries, total=total, links=links))


def _asked(request: Request, engine: Engine) -> Asked:
    query = request.query_params
    unknown = set(query) - _KNOWN
    if unknown:
        raise Invalid(
            f"history has no parameter '{min(unknown)}'; it has _count, _since and _at", code="not-supported"
        )
    settings = engine.settings
    count = min(_number(query.get("_count"), "_count", settings.page_size_default), settings.page_size_max)
    since, at = query.get("_since"), query.get("_at")
    low, high = _range("_at", at) if at is not None else (EARLIEST, LATEST)
    window = Window(_range("_since", since)[0] if since is not None else EARLIEST, low, high)
    pairs = tuple(pair for pair in query.multi_items() if pair[0] != "_pretty")
    return Asked(count, window, query.get("_cursor"), pairs)


def _number(text: str | None, name: str, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Invalid(f"{name}={text} is not a count; send a whole number from 0", code="value")
    return int(text)


def _range(name: str, text: str) -> Range:
    try:
        return range_of(text.replace(" ", "+"))  # an unescaped '+' arrives as a space
    except ValueError as error:
        raise Invalid(
            f"{name}={text} is no date or time; send one such as 2026-11-25T08:00:00Z", code="value"
        ) from error


def _cursor_of(mark: Mark) -> str:
    return f"{mark.last_updated.isoformat()}/{mark.resource_type}/{mark.id}/{mark.version}".replace(
        "+00:00", "Z"
    )


def _mark(cursor: str | None) -> Mark | None:
    if cursor is None:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise Invalid(_CURSOR_REFUSED, code="value")
    try:
        at = datetime.fromisoformat(found["at"])
    except ValueError as error:
        raise Invalid(_CURSOR_REFUSED, code="value") from error
    return Mark(at, found["type"], found["id"], int(found["version"]))

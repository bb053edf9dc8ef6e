"""Opaque cursors: where a page ended, in the terms of its order, and what the first page saw.

A cursor is not signed: it gives access to nothing that its own query does not. It is checked, so that one
that is damaged or belongs to another query is refused in words.
"""

import base64
import binascii
import hashlib
import re
from datetime import datetime
from typing import Final

import msgspec

from kanwa_shared.errors import Invalid
from kanwa_shared.fhir.search.conditions import Search

_REFUSED: Final = (
    "_cursor: this is not a cursor of this query; follow the next link of a page as it was given, "
    "or start again without _cursor"
)
_CONTROLS: Final = frozenset(
    {"_count", "_format", "_pretty", "_elements", "_summary", "_total", "_totalMethod"}
)


_SNAPSHOT: Final = re.compile(r"\d{1,18}:\d{1,18}:(\d{1,18}(,\d{1,18})*)?", re.ASCII)


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The last match of a page.

    `keys` are its sort values, the id the last of them; `snapshot` and `read_at` say what the first page
    could see; `total` is the number of matches that it told. `many`: it found that there are many.
    """

    query: str
    keys: list[str | int]
    snapshot: str
    read_at: datetime
    total: int | None
    many: bool = False

    def written(self) -> str:
        """As it stands in a URL."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


def read_cursor(search: Search) -> Cursor | None:
    """The cursor of `search`, None on its first page. Raises Invalid when it is not one of this query."""
    if not search.cursor:
        return None
    try:
        text = base64.b64decode(
            search.cursor + "=" * (-len(search.cursor) % 4), altchars=b"-_", validate=True
        )
        cursor = msgspec.json.decode(text, type=Cursor)
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise Invalid(_REFUSED) from None
    if cursor.query != fingerprint(search) or not _plausible(cursor, search):
        raise Invalid(_REFUSED)
    return cursor


def _plausible(cursor: Cursor, search: Search) -> bool:
    """Whether the parts can go to the database, which would answer a malformed one with a fault of its own."""
    return (
        len(cursor.keys) in (len(search.sort), len(search.sort) + 1)
        and "\0" not in "".join(str(key) for key in cursor.keys)
        and _is_snapshot(cursor.snapshot)
        and cursor.read_at.tzinfo is not None
    )


def _is_snapshot(text: str) -> bool:
    """Whether `text` is a pg_snapshot, `xmin:xmax:xip,xip…`: lowest, next and running transaction ids in order."""
    if not _SNAPSHOT.fullmatch(text):
        return False
    low, high, running = text.split(":")
    ids = [int(low), *(int(id) for id in running.split(",") if id), int(high)]
    return (
        ids[0] > 0 and ids == sorted(ids) and ids[-1] not in ids[1:-1] and len(set(ids[1:-1])) == len(ids) - 2
    )


def fingerprint(search: Search) -> str:
    """Digest of what a search finds and in which order; page size and form of the answer may change."""
    asked = [pair for pair in search.honoured if pair[0] not in _CONTROLS]
    return hashlib.sha256(msgspec.json.encode([search.resource_type, asked])).hexdigest()[:16]

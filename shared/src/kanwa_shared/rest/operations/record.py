"""One service's part of a patient's record, as the service that joins the record asks for it.

`POST [service]/$record` is no operation of the FHIR server: only the services ask it of each other, in the name of
their caller, whose permission is asked about for each type.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import Unparsable
from kanwa_shared.rest.conditional import caller_of
from kanwa_shared.rest.responses import engine_of
from kanwa_shared.store.compartment import Key, RecordFilter, members, referenced, supporting
from kanwa_shared.store.resources import ResourceStore
from kanwa_shared.store.stored import StoredResource

PATH: Final = "$record"


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked for: the members of a patient's compartment, from `after` on; the keys that members refer to;
    or, of `keys`, the resources that are no patient's own."""

    part: Literal["members", "references", "supporting"]
    patient: str
    types: list[str]
    since: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    after: Key | None = None
    limit: int = 0
    keys: list[Key] = []

    @property
    def wanted(self) -> RecordFilter:
        """The filter of the store."""
        return RecordFilter(self.types, self.since, self.start, self.end)


class Held(msgspec.Struct, frozen=True):
    """A resource of the record; `body` is its exact text, null for a key alone."""

    resource_type: str
    id: str
    body: msgspec.Raw

    @property
    def key(self) -> Key:
        """Type and id."""
        return self.resource_type, self.id


async def answer_record(request: Request) -> Response:
    """What the body asks for, as far as the caller may read it."""
    try:
        asked = msgspec.json.decode(await request.body(), type=Asked)
    except msgspec.MsgspecError as fault:
        raise Unparsable(f"{PATH} is asked by kanwa's services: {fault}") from fault
    caller, engine = caller_of(request), engine_of(request)
    readable = [name for name in asked.types if caller is None or caller.may(name, "r")]
    held = await own_part(engine.store, msgspec.structs.replace(asked, types=readable))
    return Response(msgspec.json.encode(held), media_type="application/json")


async def own_part(store: ResourceStore, asked: Asked) -> list[Held]:
    """The same without HTTP, for the service that joins."""
    if asked.part == "members":
        return _held(await members(store, asked.patient, asked.wanted, after=asked.after, limit=asked.limit))
    if asked.part == "supporting":
        return _held(await supporting(store, asked.keys, asked.wanted))
    return [Held(*key, msgspec.Raw(b"null")) for key in await referenced(store, asked.patient, asked.types)]


def _held(found: Sequence[StoredResource]) -> list[Held]:
    return [Held(one.resource_type, one.id, msgspec.Raw(one.body or b"null")) for one in found]

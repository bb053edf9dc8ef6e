"""One service's part of a patient's record, as the service that joins the record asks for it.

Only the services ask this, of each other and in the name of their caller, whose permission is asked about for each
type.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import Invalid, Unparsable
from kanwa_shared.fhir.search.compartment import patient_compartment
from kanwa_shared.rest.conditional import caller_of
from kanwa_shared.rest.operations.given import TYPES_AT_ONCE
from kanwa_shared.rest.responses import engine_of
from kanwa_shared.security.access import PEERS_PREFIX
from kanwa_shared.security.caller import Caller
from kanwa_shared.store.compartment import Key, RecordFilter, members, referenced, supporting
from kanwa_shared.store.resources import ResourceStore
from kanwa_shared.store.stored import StoredResource

RECORD_PATH: Final = f"{PEERS_PREFIX}record"
#: Keys that are looked up at once; their owners are asked with them in the body.
KEYS_AT_ONCE: Final = 200


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked for: the members of a patient's compartment, from `after` on; the keys that members refer to;
    or, of `keys`, the resources that are no patient's own."""

    part: Literal["members", "references", "supporting"]
    patient: str
    types: Annotated[list[str], msgspec.Meta(max_length=TYPES_AT_ONCE)]
    since: datetime | None = None
    start: datetime | None = None
    end: datetime | None = None
    after: Key | None = None
    limit: Annotated[int, msgspec.Meta(ge=0)] = 0
    keys: Annotated[list[Key], msgspec.Meta(max_length=KEYS_AT_ONCE)] = []


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
    """What the body asks for, as far as the caller may read it.

    Raises Unparsable for what is not asked so, and Invalid for more members than a page and one have.
    """
    try:
        asked = msgspec.json.decode(await request.body(), type=Asked)
    except msgspec.MsgspecError as fault:
        raise Unparsable(f"{RECORD_PATH} is asked by kanwa's services: {fault}") from fault
    engine = engine_of(request)
    most = engine.settings.page_size_max + 1
    if asked.limit > most:
        # A shorter answer would look like the end of the record.
        raise Invalid(
            f"limit={asked.limit} is above {most}; KANWA_PAGE_SIZE_MAX must be the same for all services",
            code="too-costly",
        )
    held = await own_part(engine.store, asked, caller_of(request))
    return Response(msgspec.json.encode(held), media_type="application/json")


async def own_part(store: ResourceStore, asked: Asked, caller: Caller | None) -> list[Held]:
    """The same without HTTP, for the service that joins. What the caller may not read tells it no references either."""
    wanted = RecordFilter(_readable(asked.types, caller), asked.since, asked.start, asked.end)
    if asked.part == "members":
        return _held(await members(store, asked.patient, wanted, after=asked.after, limit=asked.limit))
    if asked.part == "supporting":
        return _held(await supporting(store, asked.keys, wanted))
    sources = _readable(patient_compartment(), caller)
    keys = await referenced(store, asked.patient, wanted.types, sources=sources)
    return [Held(*key, msgspec.Raw(b"null")) for key in keys]


def _readable(types: Iterable[str], caller: Caller | None) -> list[str]:
    return [name for name in types if caller is None or caller.may(name, "r")]


def _held(found: Sequence[StoredResource]) -> list[Held]:
    return [Held(one.resource_type, one.id, msgspec.Raw(one.body or b"null")) for one in found]

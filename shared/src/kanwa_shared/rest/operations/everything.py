"""Patient/[id]/$everything: a patient's whole record. See https://hl7.org/fhir/R4/patient-operation-everything.html.

Each service answers for the types it owns, in turn, so the record is what was committed when it was read and lacks
nothing: with one service away there is no answer. Then come the resources that the record refers to and that are no
patient's own, such as Practitioners and Locations.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import Invalid, Issue
from kanwa_shared.fhir.bundle import Entry, bundle
from kanwa_shared.fhir.outcome import outcome_tree
from kanwa_shared.fhir.search.compartment import patient_compartment
from kanwa_shared.fhir.validation import RESOURCE_TYPES, is_resource_type
from kanwa_shared.ownership import ServiceName, owner_of
from kanwa_shared.rest.conditional import caller_of
from kanwa_shared.rest.engine import is_id
from kanwa_shared.rest.operations.given import (
    Given,
    count_of,
    instant_of,
    only,
    range_of_date,
    read_given,
    types_of,
)
from kanwa_shared.rest.operations.record import KEYS_AT_ONCE, RECORD_PATH, Asked, Held, own_part
from kanwa_shared.rest.peers import ask, others
from kanwa_shared.rest.responses import base_url_of, engine_of, fhir_response
from kanwa_shared.store.compartment import Key
from kanwa_shared.store.stored import StoredResource

_KNOWN: Final = frozenset({"start", "end", "_since", "_type", "_count", "_cursor"})
_SUPPORTING: Final = "supporting"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: in a service's members, or among the supporting resources; after `after`."""

    phase: str
    after: Key | None = None

    def written(self) -> str:
        """As it stands in the link to the next page."""
        return "/".join((self.phase, *(self.after or ())))


@dataclass(frozen=True, slots=True)
class Page:
    """Resources of one page with their modes, and where the next begins; None after the last."""

    found: list[tuple[Literal["match", "include"], Held]]
    following: Place | None


async def everything(request: Request) -> Response:
    """A searchset of the record, in one page unless `_count` or its size asks for more; 404 and 410 as a read."""
    engine, patient = engine_of(request), request.path_params["id"]
    given = await read_given(request, _KNOWN)
    stored = await engine.store.read("Patient", patient)
    record = _Record(request, stored, given)
    page = await record.page(_place(given, record.services), record.count)
    base, after = base_url_of(request), only(given, "_cursor")
    entries: list[Entry] = [
        {"fullUrl": f"{base}/{one.resource_type}/{one.id}", "resource": one.body, "search": {"mode": mode}}
        for mode, one in page.found
    ]
    if after is None and record.withheld:
        entries.append(
            {"resource": outcome_tree([_withheld(record.withheld)]), "search": {"mode": "outcome"}}
        )
    links = {"self": record.link(base, after)}
    if page.following is not None:
        links["next"] = record.link(base, page.following.written())
    whole = after is None and page.following is None
    return fhir_response(
        200, bundle("searchset", entries, total=len(page.found) if whole else None, links=links)
    )


class _Record:
    """One patient's record as one caller may see it and one call asks for it."""

    def __init__(self, request: Request, patient: StoredResource, given: Given):
        self._request = request
        self._engine = engine_of(request)
        self._caller = caller = caller_of(request)
        self._given = given
        asked = types_of(given, "_type") or sorted(RESOURCE_TYPES)
        self._types = [name for name in asked if caller is None or caller.may(name, "r")]
        self.withheld = [name for name in asked if name not in self._types]
        largest = self._engine.settings.page_size_max
        self.count = min(count_of(given, "_count") or largest, largest)
        self._patient = patient.id
        self._since: datetime | None = instant_of(given, "_since")
        start, end = range_of_date(given, "start"), range_of_date(given, "end")
        self._start, self._end = (start[0] if start else None), (end[1] if end else None)
        self.services: list[ServiceName] = [self._engine.definition.name, *others(request)]

    async def page(self, place: Place, count: int) -> Page:
        """Members service by service, then what they refer to, until `count` are found."""
        page = Page([], place)
        while page.following is not None and len(page.found) < count:
            read = self._supporting if page.following.phase == _SUPPORTING else self._members
            more = await read(page.following, count - len(page.found))
            page = Page(page.found + more.found, more.following)
        return page

    async def _members(self, place: Place, count: int) -> Page:
        service: ServiceName = next(name for name in self.services if name == place.phase)
        types = [name for name in self._types if owner_of(name) == service and name in patient_compartment()]
        held: list[Held] = []
        if types:
            asked = self._asked("members", types, after=place.after, limit=count + 1)
            held = await self._ask(service, asked)
        shown = held[:count]
        found: list[tuple[Literal["match", "include"], Held]] = [("match", one) for one in shown]
        if len(held) > count:
            return Page(found, Place(service, shown[-1].key))
        position = self.services.index(service) + 1
        return Page(found, Place(self.services[position] if position < len(self.services) else _SUPPORTING))

    async def _supporting(self, place: Place, count: int) -> Page:
        types = [name for name in self._types if name != "Patient"]
        parts = await asyncio.gather(
            *(self._ask(service, self._asked("references", types)) for service in self.services)
        )
        keys = sorted({one.key for part in parts for one in part})
        left = [key for key in keys if place.after is None or key > place.after]
        now = left[: min(count, KEYS_AT_ONCE)]
        found: list[Held] = []
        for service in self.services:
            own = [key for key in now if owner_of(key[0]) == service]
            if own:
                found += await self._ask(service, self._asked("supporting", types, keys=own))
        found.sort(key=lambda one: one.key)
        following = Place(_SUPPORTING, now[-1]) if len(left) > len(now) else None
        return Page([("include", one) for one in found], following)

    def _asked(
        self,
        part: Literal["members", "references", "supporting"],
        types: list[str],
        *,
        after: Key | None = None,
        limit: int = 0,
        keys: list[Key] | None = None,
    ) -> Asked:
        return Asked(
            part, self._patient, types, self._since, self._start, self._end, after, limit, keys or []
        )

    async def _ask(self, service: ServiceName, asked: Asked) -> list[Held]:
        if service == self._engine.definition.name:
            return await own_part(self._engine.store, asked, self._caller)
        answer = await ask(self._request, service, RECORD_PATH, content=msgspec.json.encode(asked))
        return msgspec.json.decode(answer.content, type=list[Held])

    def link(self, base: str, cursor: str | None) -> str:
        """This call's URL, from `cursor` on."""
        pairs = [(name, str(value)) for name, values in self._given.items() for value in values]
        query = [pair for pair in pairs if pair[0] != "_cursor"] + ([("_cursor", cursor)] if cursor else [])
        return f"{base}/Patient/{self._patient}/$everything" + (
            f"?{urlencode(query, safe=':/,')}" if query else ""
        )


def _place(given: Given, services: list[ServiceName]) -> Place:
    """Where the page begins. Raises Invalid for a cursor that kanwa has not given."""
    cursor = only(given, "_cursor")
    if cursor is None:
        return Place(services[0])
    phase, *key = str(cursor).split("/")
    if phase not in (*services, _SUPPORTING) or (key and not _is_key(key)):
        raise Invalid("_cursor is not one that kanwa gave; follow the link next as it is", code="value")
    return Place(phase, (key[0], key[1]) if key else None)


def _is_key(parts: list[str]) -> bool:
    return len(parts) == 2 and is_resource_type(parts[0]) and is_id(parts[1])


def _withheld(types: list[str]) -> Issue:
    listed = ", ".join(types)
    return Issue(
        "suppressed",
        f"the token lacks the read permission on these types, so the record is shown without them: {listed}",
        severity="warning",
    )

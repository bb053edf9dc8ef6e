"""The files of an export: each service writes those of the types it owns, while they are fetched."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from kanwa_shared.errors import NotFound, Unparsable
from kanwa_shared.fhir.http import NDJSON
from kanwa_shared.fhir.json_text import parse
from kanwa_shared.fhir.search.compartment import patient_compartment
from kanwa_shared.fhir.search.indexing import index
from kanwa_shared.rest.conditional import caller_of
from kanwa_shared.rest.engine import Engine
from kanwa_shared.rest.operations.export_job import complete_job
from kanwa_shared.rest.operations.given import TYPES_AT_ONCE
from kanwa_shared.rest.responses import engine_of
from kanwa_shared.security.access import PEERS_PREFIX
from kanwa_shared.store.bulk_export import Counts
from kanwa_shared.store.snapshot import Moment, count, pages, settled

COUNTS_PATH: Final = f"{PEERS_PREFIX}export-counts"


class Counted(msgspec.Struct, frozen=True):
    """Of which types, and of which moment, the counts are asked for."""

    types: Annotated[list[str], msgspec.Meta(max_length=TYPES_AT_ONCE)]
    at: datetime
    since: datetime | None = None


async def export_counts(request: Request) -> Response:
    """How much this service holds, for the one that answers for all; null if it can't be told yet."""
    try:
        asked = msgspec.json.decode(await request.body(), type=Counted)
    except msgspec.MsgspecError as fault:
        raise Unparsable(f"{COUNTS_PATH} is asked by kanwa's services: {fault}") from fault
    caller = caller_of(request)
    readable = [name for name in asked.types if caller is None or caller.may(name, "s")]
    counted = await own_counts(engine_of(request), msgspec.structs.replace(asked, types=readable))
    return Response(msgspec.json.encode(counted), media_type="application/json")


async def own_counts(engine: Engine, asked: Counted) -> Counts | None:
    """The same without HTTP; None while a transaction is open that may write something of that moment."""
    if not await settled(engine.store.pool):
        return None
    owned = [name for name in asked.types if engine.owns(name)]
    return await count(engine.store.pool, owned, Moment(asked.at, asked.since))


async def export_file(request: Request) -> Response:
    """The resources of one type, one on each line; with `deleted=true`, Bundles of what was deleted since.

    404 unless the export is the caller's, complete and of that type. A page is read while the one before is being sent.
    """
    engine, resource_type = engine_of(request), request.path_params["resource_type"]
    engine.check_owned(resource_type)
    job = await complete_job(request)
    if resource_type not in job.types:
        listed = ", ".join(job.types)
        raise NotFound(f"the export is not of {resource_type}; it is of {listed}")
    deletions = request.query_params.get("deleted") == "true"
    lines = _lines(engine, resource_type, Moment(job.at, job.since), job.patients_only, deletions=deletions)
    return StreamingResponse(lines, media_type=NDJSON)


async def _lines(
    engine: Engine, resource_type: str, moment: Moment, patients_only: bool, *, deletions: bool
) -> AsyncIterator[bytes]:
    async for page in pages(engine.store.pool, resource_type, moment, deletions=deletions):
        if patients_only and resource_type != "Patient":
            page = await asyncio.to_thread(_of_patients, resource_type, page, engine.settings.base_url)
        if deletions:
            yield b"".join(_deletion(resource_type, id) for id, _ in page)
        else:
            # Outside of strings, where it is escaped, a line's end is space between tokens.
            yield b"".join(text.replace(b"\n", b" ").replace(b"\r", b" ") + b"\n" for _, text in page)


def _of_patients(resource_type: str, page: list[tuple[str, bytes]], base_url: str) -> list[tuple[str, bytes]]:
    """Those that are in the compartment of some patient; judged by the text, since the index knows today's alone."""
    rows = patient_compartment()[resource_type]
    return [
        (id, text)
        for id, text in page
        if any(
            param in rows and target_type == "Patient"
            for param, target_type, _ in index(parse(text), base_url=base_url).references
        )
    ]


def _deletion(resource_type: str, id: str) -> bytes:
    request = {"method": "DELETE", "url": f"{resource_type}/{id}"}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [{"request": request}]}
    return msgspec.json.encode(bundle) + b"\n"

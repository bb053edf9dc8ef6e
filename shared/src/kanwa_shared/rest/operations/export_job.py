"""Which export a request is about: its client's own. One service knows them, the others ask it."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import NotFound
from kanwa_shared.ownership import SYSTEM_SERVICE
from kanwa_shared.rest.conditional import caller_of
from kanwa_shared.rest.peers import ask
from kanwa_shared.rest.responses import engine_of
from kanwa_shared.security.access import PEERS_PREFIX
from kanwa_shared.security.caller import ANONYMOUS
from kanwa_shared.store import bulk_export
from kanwa_shared.store.bulk_export import Export

JOB_PATH: Final = f"{PEERS_PREFIX}exports/"


class Asked(msgspec.Struct, frozen=True):
    """What a complete export is of: `types`, as they were at `at`, of that what changed at or after `since`."""

    types: list[str]
    at: datetime
    since: datetime | None
    patients_only: bool


async def own_job(request: Request) -> Export:
    """The caller's own export, for the service that knows it. Raises NotFound, also for another's."""
    found = await _find(request)
    if found is None:
        raise NotFound("there is no such export of this client; it was deleted or has expired")
    return found


async def complete_job(request: Request) -> Asked:
    """What the caller's export is of, for any service. Raises NotFound until it is complete, Unavailable."""
    engine, job = engine_of(request), request.path_params["job"]
    if engine.definition.name == SYSTEM_SERVICE:
        asked = _asked(await _find(request))
    else:
        answer = await ask(request, SYSTEM_SERVICE, JOB_PATH + job)
        asked = msgspec.json.decode(answer.content, type=Asked | None)
    if asked is None:
        raise NotFound("there is no such export of this client, or it is not complete yet; ask for its state")
    return asked


async def answer_job(request: Request) -> Response:
    """The same for another service, in the caller's name; null if there is none."""
    return Response(msgspec.json.encode(_asked(await _find(request))), media_type="application/json")


async def _find(request: Request) -> Export | None:
    caller = caller_of(request) or ANONYMOUS
    try:
        id = UUID(request.path_params["job"])
    except ValueError:
        return None
    return await bulk_export.find(engine_of(request).store.pool, id, caller.client_id)


def _asked(job: Export | None) -> Asked | None:
    if job is None or job.counts is None:
        return None
    return Asked(job.types, job.transaction_time, job.since, job.patients_only)

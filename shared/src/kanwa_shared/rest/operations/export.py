"""$export: kick-off, status and end of a bulk export. See https://hl7.org/fhir/uv/bulkdata/export.html.

Nothing is prepared: what an export holds follows from its moment, and is read when a file is fetched (export_files).
So its state is one row, any process answers for it, and it is ready once every service has said how much it has.
"""

import math
from datetime import timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import uuid4

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.clock import utc_now
from kanwa_shared.errors import Invalid, Issue, NotFound, Unavailable
from kanwa_shared.fhir.bundle import instant
from kanwa_shared.fhir.http import NDJSON, last_modified, preferences
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.outcome import outcome_bytes
from kanwa_shared.fhir.search.compartment import patient_compartment
from kanwa_shared.fhir.validation import RESOURCE_TYPES
from kanwa_shared.ownership import SYSTEM_SERVICE
from kanwa_shared.rest.conditional import caller_of
from kanwa_shared.rest.operations.export_files import COUNTS_PATH, Counted, own_counts
from kanwa_shared.rest.operations.export_job import own_job
from kanwa_shared.rest.operations.given import Given, instant_of, only, read_given, types_of
from kanwa_shared.rest.peers import ask_others
from kanwa_shared.rest.responses import base_url_of, engine_of, fhir_response
from kanwa_shared.security.caller import ANONYMOUS, Caller, InsufficientScope
from kanwa_shared.store import bulk_export
from kanwa_shared.store.bulk_export import Counts, Export

_FORMATS: Final = frozenset({NDJSON, "application/ndjson", "ndjson"})
_KNOWN: Final = frozenset({"_outputFormat", "_since", "_type"})
_AGAIN_SECONDS: Final = 10
_SETTLING: Final = "waiting until what was being written is committed"


async def export(request: Request) -> Response:
    """202 with Content-Location: where the state of the export can be asked for."""
    engine = engine_of(request)
    if engine.definition.name != SYSTEM_SERVICE:
        raise NotFound(f"exports are asked of {SYSTEM_SERVICE}; the gateway's /fhir knows the way")
    lenient = preferences(request.headers.get("prefer", "")).lenient
    given = await read_given(request, _KNOWN, lenient=lenient)
    remarks = [f"the parameter {name} is not offered and was ignored" for name in sorted(set(given) - _KNOWN)]
    wanted = only(given, "_outputFormat")
    if wanted is not None and str(wanted).replace(" ", "+") not in _FORMATS:
        raise Invalid(f"_outputFormat={wanted} is not written; ask for {NDJSON}", code="not-supported")
    patients_only = request.path_params.get("resource_type") == "Patient"
    caller = caller_of(request) or ANONYMOUS
    types, withheld = _types(given, patients_only, caller)
    if withheld:
        remarks.append("without the types that the token may not read or search: " + ", ".join(withheld))
    now = utc_now()
    moment = now.replace(microsecond=now.microsecond // 1000 * 1000)  # as `meta.lastUpdated` is cut
    job = Export(
        uuid4(), caller.client_id, _request_url(request, given), moment,
        instant_of(given, "_since"), patients_only, types, remarks, None,
        now + timedelta(hours=engine.settings.export_lifetime_hours),
    )  # fmt: skip
    await bulk_export.remember(engine.store.pool, job)
    location = f"{base_url_of(request)}/$export/{job.id}"
    said = Issue(
        "informational", f"the export is under way; its state is at {location}", severity="information"
    )
    return fhir_response(202, outcome_bytes([said]), {"Content-Location": location})


def _types(given: Given, patients_only: bool, caller: Caller) -> tuple[list[str], list[str]]:
    """What is exported, and what scopes withhold. Raises InsufficientScope for a type that was asked for by name."""
    asked = types_of(given, "_type")
    offered = patient_compartment() if patients_only else RESOURCE_TYPES
    outside = [name for name in asked if name not in offered]
    if outside:
        raise Invalid(
            f"_type={outside[0]} holds nothing that is a patient's; export it from the server: [base]/$export",
            code="value",
        )
    for name in asked:
        _check_may_have(caller, name)
    everything = asked or sorted(offered)
    types = [name for name in everything if caller.may(name, "r") and caller.may(name, "s")]
    if not types:
        raise InsufficientScope("system/*.rs")
    return types, [name for name in everything if name not in types]


def _check_may_have(caller: Caller, resource_type: str) -> None:
    """Raise InsufficientScope unless the caller may read every resource of the type."""
    for permission in ("r", "s"):
        caller.check(resource_type, permission)


def _request_url(request: Request, given: Given) -> str:
    """The kick-off as a URL, whatever way it came."""
    path = "Patient/$export" if "resource_type" in request.path_params else "$export"
    query = urlencode([(name, str(value)) for name, values in given.items() for value in values], safe=":/,")
    return f"{base_url_of(request)}/{path}" + (f"?{query}" if query else "")


async def export_status(request: Request) -> Response:
    """202 with X-Progress and Retry-After while it is under way, then 200 with the manifest.

    Raises InsufficientScope for a token that may less than the one before: its files would be refused, and the services
    would count for it alone.
    """
    engine, job = engine_of(request), await own_job(request)
    caller = caller_of(request) or ANONYMOUS
    for name in job.types:
        _check_may_have(caller, name)
    counts = job.counts
    if counts is None:
        ready_at = job.transaction_time + timedelta(seconds=engine.settings.export_settle_seconds)
        seconds_left = (ready_at - utc_now()).total_seconds()
        if seconds_left > 0:
            return _under_way(_SETTLING, math.ceil(seconds_left))
        try:
            counts = await _counts(request, job)
        except Unavailable as silent:
            return _under_way(silent.issues[0].diagnostics, _AGAIN_SECONDS)
        if counts is None:
            return _under_way(_SETTLING, _AGAIN_SECONDS)
        await bulk_export.complete(engine.store.pool, job.id, counts)
    headers = {"Expires": last_modified(job.expires_at), "Cache-Control": "no-store"}
    return Response(
        msgspec.json.encode(_manifest(request, job, counts)), 200, headers, media_type="application/json"
    )


async def export_end(request: Request) -> Response:
    """202: the export is forgotten, and its files with it."""
    job = await own_job(request)
    await bulk_export.forget(engine_of(request).store.pool, job.id)
    return Response(status_code=202)


async def export_remarks(request: Request) -> Response:
    """The manifest's `error` file: OperationOutcomes that say what the export lacks and why."""
    job = await own_job(request)
    lines = [outcome_bytes([Issue("suppressed", text, severity="warning")]) for text in job.remarks]
    return Response(b"".join(line + b"\n" for line in lines), media_type=NDJSON)


async def _counts(request: Request, job: Export) -> Counts | None:
    """What all services hold of it, None while one is still writing. Raises Unavailable while one does not answer."""
    asked = Counted(job.types, job.transaction_time, job.since)
    own = await own_counts(engine_of(request), asked)
    answers = await ask_others(request, COUNTS_PATH, content=msgspec.json.encode(asked))
    counts: Counts = {}
    for part in (own, *(msgspec.json.decode(answer.content, type=Counts | None) for answer in answers)):
        if part is None:
            return None
        counts |= part
    return counts


def _manifest(request: Request, job: Export, counts: Counts) -> Tree:
    base = base_url_of(request)
    output: list[Tree] = []
    deletions: list[Tree] = []
    for name, (held, deleted) in sorted(counts.items()):
        url = f"{base}/{name}/$export/{job.id}"
        # Whose a resource was then is only known when it is read.
        count = {} if job.patients_only and name != "Patient" else {"count": held}
        if held:
            output.append({"type": name, "url": url, **count})
        if deleted and job.since is not None:
            deletions.append({"type": "Bundle", "url": f"{url}?deleted=true"})
    remarks = [{"type": "OperationOutcome", "url": f"{base}/$export/{job.id}/remarks"}] if job.remarks else []
    extension: Tree = {"patientsOnly": job.patients_only}
    if job.since is not None:
        extension["since"] = job.since.isoformat()
    return {
        "transactionTime": instant(job.transaction_time),
        "request": job.request,
        "requiresAccessToken": engine_of(request).settings.auth_mode == "jwt",
        "output": output,
        "error": remarks,
        **({} if job.since is None else {"deleted": deletions}),
        "extension": extension,
    }


def _under_way(progress: str, again_seconds: int) -> Response:
    headers = {"X-Progress": progress[:100], "Retry-After": str(again_seconds), "Cache-Control": "no-store"}
    return Response(status_code=202, headers=headers)

"""read and vread: `GET [base]/[type]/[id]{/_history/[vid]}`. See https://hl7.org/fhir/R4/http.html#read."""

from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import NotFound
from kanwa_shared.fhir.http import not_modified
from kanwa_shared.rest.engine import check_id
from kanwa_shared.rest.responses import engine_of, fhir_response, negotiate, resource_headers
from kanwa_shared.store.stored import StoredResource


async def read(request: Request) -> Response:
    """200 with the current version, 304 if the client has it, 404 unknown, 410 deleted."""
    engine, resource_type, id = (
        engine_of(request),
        request.path_params["resource_type"],
        request.path_params["id"],
    )
    engine.check_owned(resource_type)
    negotiate(request)
    check_id(id)
    return _answer(request, await engine.store.read(resource_type, id))


async def vread(request: Request) -> Response:
    """200 with one version, 404 unknown, 410 if that version is the deletion."""
    engine, resource_type, id = (
        engine_of(request),
        request.path_params["resource_type"],
        request.path_params["id"],
    )
    version = request.path_params["version"]
    engine.check_owned(resource_type)
    negotiate(request)
    check_id(id)
    if not (version.isascii() and version.isdigit() and len(version) < 10):
        raise NotFound(f"{resource_type}/{id} has no version '{version}'; versions are numbers from 1")
    return _answer(request, await engine.store.read_version(resource_type, id, int(version)))


def _answer(request: Request, resource: StoredResource) -> Response:
    headers = resource_headers(request, resource, location=False)
    if not_modified(request.headers, resource.version, resource.last_updated):
        return Response(status_code=304, headers=headers)
    return fhir_response(200, resource.body or b"", headers)

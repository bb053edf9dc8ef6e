"""create: `POST [base]/[type]`. See https://hl7.org/fhir/R4/http.html#create."""

from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.fhir.http import check_content_type
from kanwa_shared.fhir.search import Search
from kanwa_shared.rest.conditional import caller_of, only_match, pairs_of_text, pairs_of_url, read_condition
from kanwa_shared.rest.engine import Engine, Origin
from kanwa_shared.rest.responses import engine_of, negotiate, origin_of, written_response
from kanwa_shared.rest.service import Context, WriteRequest
from kanwa_shared.store.stored import StoredResource


async def create(request: Request) -> Response:
    """201 with the resource, its ETag and Location; an id in the body is replaced by a new one.

    With `If-None-Exist`, or with search parameters in the URL as some clients send them, 200 and the one resource
    that matches, if there is one; 412 if there are several.
    """
    engine, resource_type = engine_of(request), request.path_params["resource_type"]
    engine.check_owned(resource_type)
    negotiate(request)
    check_content_type(request.headers.get("content-type", ""))
    body, condition = await request.body(), _condition(request, resource_type)
    if condition is None:
        created = await create_resource(engine, origin_of(request), resource_type, body)
        return written_response(request, 201, created)
    found_or_created, existed = await create_unless_found(engine, origin_of(request), condition, body)
    return written_response(request, 200 if existed else 201, found_or_created)


def _condition(request: Request, resource_type: str) -> Search | None:
    header = request.headers.get("if-none-exist")
    pairs = pairs_of_url(request) if header is None else pairs_of_text(header)
    if header is None and not pairs:
        return None
    source = "the URL's search" if header is None else "If-None-Exist"
    return read_condition(resource_type, pairs, source=source, caller=caller_of(request))


async def create_unless_found(
    engine: Engine, origin: Origin, condition: Search, body: bytes
) -> tuple[StoredResource, bool]:
    """The one resource that matches and True, else the one that was made of `body` and False.

    Of many at once with one condition a single one creates, in whatever process they run: the commit holds only
    while nothing matches, and who comes second looks again. Raises PreconditionFailed for several matches.
    """

    async def stage(context: Context) -> tuple[StoredResource, bool]:
        existing = await only_match(engine, condition, source="the condition")
        if existing is not None:
            return existing, True
        context.changes.only_if_none(condition)
        return await _stage_create(engine, context, condition.resource_type, body), False

    return await engine.perform(origin, stage)


async def create_resource(engine: Engine, origin: Origin, resource_type: str, body: bytes) -> StoredResource:
    """Validate, apply the rules and commit. Raises DomainError with every issue found."""
    return await engine.perform(origin, lambda context: _stage_create(engine, context, resource_type, body))


async def _stage_create(engine: Engine, context: Context, resource_type: str, body: bytes) -> StoredResource:
    tree = await engine.read_body(resource_type, body)
    id = context.changes.create(tree, body=body)
    await engine.apply_rules(WriteRequest("create", resource_type, id, tree, None), context)
    created = context.changes.stored(resource_type, id)
    assert created is not None  # noqa: S101  # it was put there two lines above
    return created

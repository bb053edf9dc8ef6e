"""search: `GET [base]/[type]?…` and `POST [base]/[type]/_search`. See https://hl7.org/fhir/R4/search.html."""

from dataclasses import replace
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import Issue
from kanwa_shared.fhir.bundle import Entry, bundle, search_entry
from kanwa_shared.fhir.http import UnsupportedMediaType, preferences
from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.fhir.outcome import outcome_tree
from kanwa_shared.fhir.search import Search, SearchPage, parse_search, projected
from kanwa_shared.fhir.search.parsing import MAX_PARAMETERS, too_many_parameters
from kanwa_shared.rest.responses import base_url_of, engine_of, fhir_response, negotiate
from kanwa_shared.security.access import check_chains
from kanwa_shared.security.caller import Caller
from kanwa_shared.store.stored import StoredResource


async def search(request: Request) -> Response:
    """A searchset with `total`, `self` and `next` links."""
    return await _search(request, request.query_params.multi_items())


async def search_by_post(request: Request) -> Response:
    """The same with the parameters in a form; those in the URL count too."""
    content_type, body = request.headers.get("content-type", ""), await request.body()
    if body and content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise UnsupportedMediaType("_search reads application/x-www-form-urlencoded")
    return await _search(request, [*request.query_params.multi_items(), *_fields(body)])


def _fields(form: bytes) -> list[tuple[str, str]]:
    text = form.decode(errors="replace")
    try:  # counted before they are read: a form may be as large as a resource
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise too_many_parameters() from None


async def _search(request: Request, parameters: list[tuple[str, str]]) -> Response:
    engine, resource_type = engine_of(request), request.path_params["resource_type"]
    engine.check_owned(resource_type)
    negotiate(request)
    lenient = preferences(request.headers.get("prefer", "")).lenient
    caller: Caller | None = request.scope.get("state", {}).get("caller")
    check_chains(caller, (name for name, _ in parameters))
    parsed = parse_search(
        resource_type,
        parameters,
        lenient=lenient,
        ignore_empty=True,
        default_count=engine.settings.page_size_default,
        max_count=engine.settings.page_size_max,
    )
    base = base_url_of(request)
    page = await engine.store.search(parsed, base_url=base)
    return fhir_response(200, searchset(_visible(page, caller), parsed, base))


def _visible(page: SearchPage, caller: Caller | None) -> SearchPage:
    """Without what was to be included and is of a type that the caller may not read."""
    if caller is None:
        return page
    return replace(page, included=[one for one in page.included if caller.may(one.resource_type, "r")])


def searchset(page: SearchPage, search: Search, base_url: str) -> bytes:
    """The Bundle of one page of matches, then what they include, then what was ignored.

    `_summary` and `_elements` cut the resources to the part that was asked for.
    """
    resource_type = search.resource_type
    links = {"self": _link(base_url, resource_type, page.self_query)}
    if page.next_query is not None:
        links["next"] = _link(base_url, resource_type, page.next_query)
    entries = [search_entry(_part(match, search), base_url, "match") for match in page.matches]
    entries += [search_entry(_part(included, search), base_url, "include") for included in page.included]
    if page.notes:
        entries.append(_outcome_entry(page.notes))
    return bundle("searchset", entries, total=page.total, links=links)


def _part(resource: StoredResource, search: Search) -> StoredResource:
    if search.summary == "false" and not search.elements:
        return resource
    part = projected(resource.tree, search)
    return resource if part is None else replace(resource, body=dumps(part))


def _link(base_url: str, resource_type: str, query: str) -> str:
    return f"{base_url}/{resource_type}" + (f"?{query}" if query else "")


def _outcome_entry(notes: list[Issue]) -> Entry:
    return {"resource": outcome_tree(notes), "search": {"mode": "outcome"}}

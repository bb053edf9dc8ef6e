"""Writes whose resource a search names instead of an id. See https://hl7.org/fhir/R4/http.html#cond-update."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from kanwa_shared.errors import Invalid, PreconditionFailed
from kanwa_shared.fhir.search import Search, parse_search
from kanwa_shared.fhir.search.conditions import ALWAYS
from kanwa_shared.rest.engine import Engine
from kanwa_shared.security.access import check_chains
from kanwa_shared.security.caller import Caller
from kanwa_shared.store.stored import StoredResource

Pairs = Sequence[tuple[str, str]]

#: Parameters of any request: of the answer's form, not of what is asked or called.
ABOUT_THE_ANSWER: Final = frozenset({"_format", "_pretty"})


def pairs_of_url(request: Request) -> list[tuple[str, str]]:
    """The URL's search parameters."""
    return [pair for pair in request.query_params.multi_items() if pair[0] not in ABOUT_THE_ANSWER]


def pairs_of_text(text: str) -> list[tuple[str, str]]:
    """The search parameters of `If-None-Exist` or `ifNoneExist`, with or without a leading `?`."""
    return parse_qsl(text.strip().lstrip("?"), keep_blank_values=True)


def read_condition(resource_type: str, pairs: Pairs, *, source: str, caller: Caller | None) -> Search:
    """The search that must name one resource; only what it asks of a resource counts, not `_count` or `_summary`.

    `source` says where it was written. Raises Invalid if it asks nothing, since that would match everything, and
    InsufficientScope if the caller may not search: whether something matches tells what is stored.
    """
    if caller is not None:
        caller.check(resource_type, "s")
    check_chains(caller, (name for name, _ in pairs))
    parsed = parse_search(resource_type, list(pairs))
    if parsed.condition == ALWAYS:
        raise Invalid(f"{source} names no search parameter, such as identifier=system|value", code="required")
    return Search(resource_type, parsed.condition, sort=(), count=2, total="none")


async def only_match(engine: Engine, condition: Search, *, source: str) -> StoredResource | None:
    """What the condition matches. Raises PreconditionFailed for more than one."""
    matches = (await engine.store.search(condition, base_url=engine.settings.base_url)).matches
    if len(matches) > 1:
        raise PreconditionFailed(
            f"{source} matches several resources; make the search say which one you mean",
            code="multiple-matches",
        )
    return matches[0] if matches else None


def caller_of(request: Request) -> Caller | None:
    """Who asks; None where authentication has not run."""
    return request.scope.get("state", {}).get("caller")

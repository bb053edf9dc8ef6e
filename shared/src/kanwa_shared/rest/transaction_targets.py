"""What the entries of a transaction write: conditions are searched, ids given, references pointed at them."""

from dataclasses import dataclass, field, replace

from kanwa_shared.errors import DomainError, Invalid, Issue, NotFound, PreconditionFailed
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search import Search
from kanwa_shared.fhir.validation import is_resource_type
from kanwa_shared.rest.bundle_entries import (
    BundleEntry,
    assign_ids,
    check_local_references,
    conditional_references,
    point_references,
)
from kanwa_shared.rest.conditional import only_match, pairs_of_text, read_condition
from kanwa_shared.rest.engine import Engine
from kanwa_shared.rest.service import Context
from kanwa_shared.security.caller import Caller
from kanwa_shared.store.stored import StoredResource


@dataclass(slots=True)
class Targets:
    """By the positions of entries: what a conditional create found (`existing`), what a search of a PUT, PATCH or
    DELETE found (`found`, None for nothing). `references` maps every fullUrl to the `Type/id` that it stands for.
    """

    existing: dict[int, StoredResource] = field(default_factory=dict[int, StoredResource])
    found: dict[int, StoredResource | None] = field(default_factory=dict[int, "StoredResource | None"])
    references: dict[str, str] = field(default_factory=dict[str, str])


async def resolve(
    engine: Engine, context: Context, writes: list[BundleEntry], caller: Caller | None
) -> Targets:
    """Give every entry of `writes` its id, and its resource the references that others of the Bundle got.

    Everything is looked up as it was before the transaction; what must be absent stays so until the commit.
    Raises DomainError, rooted in the Bundle, for a condition that names several resources or none where one is due.
    """
    targets = Targets()
    asked: dict[str, BundleEntry] = {}
    for entry in writes:
        if not entry.if_none_exist and not entry.searches:
            continue
        condition = _condition(entry, caller)
        match = await _match(engine, condition, entry)
        if entry.method == "POST" and match is not None:
            targets.existing[entry.position] = match
        elif entry.searches:
            _take_match(targets, entry, match)
        if match is None and entry.method in {"POST", "PUT"}:
            _refuse_twice(asked, condition, entry)
            context.changes.only_if_none(condition)
    targets.references = assign_ids([entry for entry in writes if _is_written(entry, targets)])
    for position, match in targets.existing.items():
        full_url = next(entry.full_url for entry in writes if entry.position == position)
        if full_url:
            targets.references[full_url] = match.reference
    check_local_references(writes, targets.references)
    for entry in writes:
        if entry.resource is not None:
            point_references(entry.resource, targets.references)
            await _resolve_conditional_references(engine, entry, caller)
    return targets


def _is_written(entry: BundleEntry, targets: Targets) -> bool:
    return entry.position not in targets.existing


def _condition(entry: BundleEntry, caller: Caller | None) -> Search:
    source = "ifNoneExist" if entry.if_none_exist else "the URL's search"
    pairs = pairs_of_text(entry.if_none_exist) if entry.if_none_exist else entry.query
    try:
        return read_condition(entry.resource_type, pairs, source=source, caller=caller)
    except DomainError as error:
        raise _at_condition(error, entry) from error


async def _match(engine: Engine, condition: Search, entry: BundleEntry) -> StoredResource | None:
    try:
        return await only_match(engine, condition, source="the condition")
    except PreconditionFailed as error:
        raise _at_condition(error, entry) from error


def _take_match(targets: Targets, entry: BundleEntry, match: StoredResource | None) -> None:
    """Note what the search of a PUT, PATCH or DELETE found, and give the entry its id."""
    targets.found[entry.position] = match
    if match is None:
        if entry.method == "PATCH":
            raise _at_condition(NotFound(f"{entry.url} finds no {entry.resource_type} to patch"), entry)
        if entry.method == "PUT":
            given: str | None = entry.resource.get("id") if entry.resource else None
            entry.id = given
        return
    given = entry.resource.get("id") if entry.resource and entry.method == "PUT" else None
    if given not in {None, match.id}:
        text = f"the id of the resource is '{given}', and the search finds {match.reference}; they must agree"
        raise Invalid(text, expression=f"{entry.path}.resource.id", code="invariant")
    entry.id = match.id


def _refuse_twice(asked: dict[str, BundleEntry], condition: Search, entry: BundleEntry) -> None:
    """Raise Invalid if an entry before asks the same: both would create what must be there once."""
    key = f"{condition.resource_type} {condition.condition!r}"
    before = asked.setdefault(key, entry)
    if before is not entry:
        text = (
            f"{before.path} has the same condition; name its fullUrl instead of creating the resource twice"
        )
        raise Invalid(text, expression=f"{entry.path}.request", code="duplicate")


async def _resolve_conditional_references(engine: Engine, entry: BundleEntry, caller: Caller | None) -> None:
    for reference, url in conditional_references(entry.resource or {}):
        match = await _referenced(engine, url, entry, caller)
        reference["reference"] = match.reference


async def _referenced(engine: Engine, url: str, entry: BundleEntry, caller: Caller | None) -> StoredResource:
    """The one resource that a reference such as `Practitioner?identifier=…` means."""
    resource_type, _, query = url.partition("?")
    place = f"{entry.path}.resource"
    if not is_resource_type(resource_type):
        raise Invalid(f"the reference '{url}' names no R4 type", expression=place, code="value")
    try:
        condition = read_condition(
            resource_type, pairs_of_text(query), source=f"the reference '{url}'", caller=caller
        )
        match = await only_match(engine, condition, source=f"the reference '{url}'")
    except DomainError as error:
        raise type(error)([replace(issue, expression=(place,)) for issue in error.issues]) from error
    if match is None:
        raise PreconditionFailed(
            f"the reference '{url}' matches nothing, and must match one", expression=place, code="not-found"
        )
    return match


def _at_condition(error: DomainError, entry: BundleEntry) -> DomainError:
    where = "ifNoneExist" if entry.if_none_exist else "url"
    place = f"{entry.path}.request.{where}"
    return type(error)([replace(issue, expression=(place,)) for issue in error.issues])


def inside(issue: Issue, entry: BundleEntry) -> Issue:
    """The same issue, its expressions rooted in the Bundle."""
    expressions = tuple(
        f"{entry.path}.resource{expression[len(entry.resource_type) :]}"
        if expression.startswith(entry.resource_type)
        else f"{entry.path}.{expression}"
        for expression in issue.expression
    )
    return Issue(issue.code, issue.diagnostics, expressions or (entry.path,), issue.severity)


def tree_of(entry: BundleEntry) -> Tree:
    """The entry's resource; of a deletion, its type alone."""
    return entry.resource or {"resourceType": entry.resource_type}

"""The one way of a write: read, validate, apply the service's rules, commit with its events."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

import httpx

from kanwa_shared.clock import utc_now
from kanwa_shared.errors import BusinessRule, Invalid, Issue, NotFound, VersionConflict
from kanwa_shared.fhir.json_text import parse
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation import is_resource_type, validate
from kanwa_shared.ownership import ServiceName, owner_of
from kanwa_shared.profiles import claimed_faults
from kanwa_shared.rest.service import Context, ServiceDefinition, WriteRequest
from kanwa_shared.security.scopes import Scope
from kanwa_shared.settings import BaseServiceSettings
from kanwa_shared.store.changes import ChangeSet
from kanwa_shared.store.commit import ConstraintBroken
from kanwa_shared.store.resources import ResourceStore

T = TypeVar("T")


# Rules read before they write; a rival that commits in between costs one more round, and rarely a second.
MAX_ROUNDS: Final = 5
# `meta.lastUpdated` must not lie long before the commit: an export takes what was written since an instant.
STAMP_FRESH: Final = timedelta(seconds=1)
# A body below this is validated on the event loop: handing it to a thread costs more than the check.
THREAD_ABOVE_BYTES: Final = 32_768
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a change comes from: the caller with its scopes, and the trace and request it belongs to."""

    caller: str | None = None
    traceparent: str | None = None
    correlation_id: str | None = None
    scopes: frozenset[Scope] | None = None


class Engine:
    """One service's definition over its store; HTTP endpoints and consumers both write through it."""

    def __init__(
        self,
        definition: ServiceDefinition,
        settings: BaseServiceSettings,
        store: ResourceStore,
        peers: Mapping[ServiceName, httpx.AsyncClient],
    ):
        self.definition = definition
        self.settings = settings
        self.store = store
        self.peers = peers
        self.peers_described: dict[ServiceName, tuple[list[Tree], float]] = {}
        self.fixed: frozenset[tuple[str, str]] = frozenset(
            (tree["resourceType"], tree["id"]) for tree in (definition.fixed() if definition.fixed else ())
        )

    def owns(self, resource_type: str) -> bool:
        """Whether this service accepts writes of the type."""
        return is_resource_type(resource_type) and owner_of(resource_type) == self.definition.name

    def check_owned(self, resource_type: str) -> None:
        """Raise NotFound unless the type is an R4 type that this service owns."""
        if not is_resource_type(resource_type):
            raise NotFound(
                f"'{resource_type}' is not an R4 resource type that kanwa serves", code="not-supported"
            )
        if owner_of(resource_type) != self.definition.name:
            raise NotFound(
                f"{resource_type} is served by {owner_of(resource_type)}; ask the gateway's /fhir, which knows the way",
                code="not-supported",
            )

    def context(self, origin: Origin) -> Context:
        """A fresh change set with what a rule may use."""
        now = utc_now()
        changes = ChangeSet(now, origin.caller, origin.traceparent, origin.correlation_id)
        return Context(self.store, changes, changes.now, origin.caller, self.settings, origin.scopes)

    async def perform(self, origin: Origin, stage: Callable[[Context], Awaitable[T]]) -> T:
        """Run `stage` over a fresh context and commit what it gathered.

        When somebody else wrote what it had read, it runs anew. Raises VersionConflict after `MAX_ROUNDS`. What took
        longer than `STAMP_FRESH` is stored with the time of its commit; `result` may show when it began.
        """
        for round_number in range(1, MAX_ROUNDS + 1):
            context = self.context(origin)
            result = await stage(context)
            if utc_now() - context.now > STAMP_FRESH:
                context.changes.stamp_anew(utc_now())
            try:
                await self.store.commit(context.changes)
            except VersionConflict:
                if round_number == MAX_ROUNDS:
                    raise
            except ConstraintBroken as broken:
                if self.definition.explain_conflict is None:
                    raise
                raise await self.definition.explain_conflict(broken, context) from broken
            else:
                return result
        raise AssertionError("unreachable: the last round returns or raises")

    async def apply_rules(self, request: WriteRequest, context: Context) -> None:
        """Run the service's rules for a write that is in the change set already."""
        for rule in self.definition.write_rules.get(request.resource_type, ()):
            await rule(request, context)

    async def read_body(self, resource_type: str, body: bytes) -> Tree:
        """Parse and validate a received resource.

        Raises Unparsable or Invalid with all issues at once, BusinessRule if it lacks what a profile of kanwa's that
        it claims asks for.
        """
        if len(body) > THREAD_ABOVE_BYTES:
            return await asyncio.to_thread(self._read_body, resource_type, body)
        return self._read_body(resource_type, body)

    def _read_body(self, resource_type: str, body: bytes) -> Tree:
        tree = parse(body, max_depth=self.settings.max_json_depth)
        if tree.get("resourceType") != resource_type:
            raise Invalid(
                f"resourceType is '{tree.get('resourceType')}', and the URL says {resource_type}; they must agree",
                expression="resourceType",
            )
        refuse_errors(validate(tree, body))
        unmet = claimed_faults(tree)
        if unmet:
            raise BusinessRule(unmet)
        return tree


def refuse_errors(issues: list[Issue]) -> None:
    """Raise Invalid with every issue if at least one is an error."""
    if any(issue.severity in {"error", "fatal"} for issue in issues):
        raise Invalid(issues)


def is_id(text: str) -> bool:
    """Whether a resource can have this id."""
    return _ID.fullmatch(text) is not None


def check_id(id: str) -> None:
    """Raise NotFound for what cannot be an id: nothing is stored under it."""
    if not is_id(id):
        raise NotFound(f"'{id}' is no FHIR id; ids have 1 to 64 letters, digits, '-' and '.'")

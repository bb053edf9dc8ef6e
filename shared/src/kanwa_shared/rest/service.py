"""What a service adds to the engine: rules on writes, effects of events, operations, periodic work."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.messaging.envelope import Event
from kanwa_shared.ownership import ServiceName
from kanwa_shared.security.scopes import Scope
from kanwa_shared.settings import BaseServiceSettings
from kanwa_shared.store.changes import ChangeSet, Interaction
from kanwa_shared.store.commit import ConstraintBroken
from kanwa_shared.store.resources import ResourceStore
from kanwa_shared.store.stored import StoredResource

if TYPE_CHECKING:
    from kanwa_shared.rest.engine import Engine


@dataclass(frozen=True, slots=True)
class Context:
    """What a rule may read and where it writes; `now` is aware UTC, `caller` the client id or None.

    `scopes` are the caller's; None where no client asks (an event, periodic work) or authentication has not run.
    """

    store: ResourceStore
    changes: ChangeSet
    now: datetime
    caller: str | None
    settings: BaseServiceSettings
    scopes: frozenset[Scope] | None = None

    async def get(self, resource_type: str, id: str) -> StoredResource | None:
        """The resource as this change set leaves it, else as it is stored; None if unknown."""
        return self.changes.stored(resource_type, id) or await self.store.get(resource_type, id)

    async def find(
        self, resource_type: str, matches: Callable[[Tree], bool], **parameters: str
    ) -> list[StoredResource]:
        """What search parameters find in the store, as this change set leaves it.

        `matches` says the same as `parameters` about a tree: what the change set writes is not searchable yet.
        Deleted resources are left out. `based_on` stands for the parameter `based-on`.
        """
        return self.as_left(resource_type, await self.store.find(resource_type, **parameters), matches)

    def as_left(
        self, resource_type: str, stored: Iterable[StoredResource], matches: Callable[[Tree], bool]
    ) -> list[StoredResource]:
        """Resources of a type that were found in the store, as this change set leaves what `matches`."""
        found = {resource.id: resource for resource in stored}
        for write in self.changes.writes.values():
            if write.resource_type != resource_type:
                continue
            found.pop(write.id, None)
            written = self.changes.stored(resource_type, write.id)
            if written is not None and write.tree is not None and matches(write.tree):
                found[write.id] = written
        return list(found.values())


@dataclass(frozen=True, slots=True)
class WriteRequest:
    """One write that a client asks for; it is in `Context.changes` already.

    `tree` is None for a deletion, `current` None for a creation. `promised` marks a hand-over: a client holds
    a 201 for it, so a rule must not refuse it; it records what is wrong instead.
    """

    interaction: Interaction
    resource_type: str
    id: str
    tree: Tree | None
    current: StoredResource | None
    promised: bool = False


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """A FHIR operation call: `parameters` is a Parameters tree, `id` the instance or None."""

    parameters: Tree
    id: str | None = None


@dataclass(frozen=True, slots=True)
class OperationResponse:
    """What an operation answers: a resource that it wrote (then with ETag and Location), or a tree."""

    status: int
    tree: Tree | None = None
    resource: tuple[str, str] | None = None


WriteRule = Callable[[WriteRequest, Context], Awaitable[None]]
EventRule = Callable[[Event, Context], Awaitable[None]]
OperationHandler = Callable[[OperationRequest, Context], Awaitable[OperationResponse]]
Level = Literal["system", "type", "instance"]


@dataclass(frozen=True, slots=True)
class Operation:
    """A FHIR operation; `affects_state` False allows GET as well."""

    name: str
    resource_type: str
    handler: OperationHandler
    definition: str
    level: Level = "type"
    affects_state: bool = True


@dataclass(frozen=True, slots=True)
class Periodic:
    """Work that no event triggers, such as a hold that expires; run every `every_seconds` by one worker."""

    name: str
    every_seconds: float
    run: Callable[[Context], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Background:
    """Work that goes on beside the others until it is told to stop, in every worker of the service."""

    name: str
    run: Callable[["Engine", asyncio.Event], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class ServiceDefinition:
    """One service as the engine runs it.

    `replicates` are the types of other owners that it keeps copies of. `event_rules` are by resource type;
    rules for a type that the service owns itself see its own events. `every_event_rules` are shown, after those,
    every event once: of another owner's resource also a version that came after its successor. `fixed` are
    resources served read only, by (type, id), such as the catalogue. `explain_conflict` says in the client's words
    which constraint of the service's own tables refused a commit. `migrations` is the folder of the service's own SQL
    files, or None. `capabilities` adds members to what the CapabilityStatement says of a type.
    """

    name: ServiceName
    write_rules: Mapping[str, Sequence[WriteRule]] = field(default_factory=dict[str, Sequence[WriteRule]])
    event_rules: Mapping[str, Sequence[EventRule]] = field(default_factory=dict[str, Sequence[EventRule]])
    every_event_rules: Mapping[str, Sequence[EventRule]] = field(
        default_factory=dict[str, Sequence[EventRule]]
    )
    replicates: frozenset[str] = frozenset()
    operations: Sequence[Operation] = ()
    periodic: Sequence[Periodic] = ()
    background: Sequence[Background] = ()
    migrations: Path | None = None
    settings_class: type[BaseServiceSettings] = BaseServiceSettings
    fixed: Callable[[], Sequence[Tree]] | None = None
    explain_conflict: Callable[[ConstraintBroken, Context], Awaitable[Exception]] | None = None
    capabilities: Mapping[str, Tree] = field(default_factory=dict[str, Tree])

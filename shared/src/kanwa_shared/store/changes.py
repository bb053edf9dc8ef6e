"""What one use case wants written: gathered first, then committed at once or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, LiteralString
from uuid import uuid4

from kanwa_shared.errors import DomainError
from kanwa_shared.fhir.json_text import dumps, parse, with_identity
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search import Search
from kanwa_shared.messaging.envelope import Event
from kanwa_shared.ownership import owner_of
from kanwa_shared.store.stored import StoredResource

Interaction = Literal["create", "update", "delete"]


@dataclass(slots=True)
class Write:
    """The next version of one resource; `body` is None for a deletion."""

    interaction: Interaction
    resource_type: str
    id: str
    version: int
    tree: Tree | None
    body: bytes | None
    replica: bool = False


@dataclass(frozen=True, slots=True)
class HandOverEntry:
    """A resource for the service that owns its type; that service writes it, exactly once.

    `base` is the version that an update was made of, None where it stands for itself.
    """

    interaction: Interaction
    target: str
    resource_type: str
    id: str
    tree: Tree | None
    body: bytes | None
    base: int | None = None


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL over a service's own table, run in the same transaction after the resources are written."""

    sql: LiteralString
    parameters: Sequence[Any] | Mapping[str, Any]


@dataclass(slots=True)
class ChangeSet:
    """Everything one request or one event changes.

    `now` is aware UTC and becomes `meta.lastUpdated` (milliseconds). `actor` is the caller's client id.
    A resource that is written twice in one change set gets one version, the last text.
    `chosen` says that the id of a new resource is a client's.
    """

    now: datetime
    actor: str | None = None
    traceparent: str | None = None
    correlation_id: str | None = None
    writes: dict[tuple[str, str], Write] = field(default_factory=dict[tuple[str, str], Write])
    hand_overs: dict[tuple[str, str], HandOverEntry] = field(
        default_factory=dict[tuple[str, str], HandOverEntry]
    )
    statements: list[Statement] = field(default_factory=list[Statement])
    received: tuple[str, str] | None = None
    absent: list[Search] = field(default_factory=list[Search])
    chosen: bool = False

    def __post_init__(self) -> None:
        """Cut `now` to the precision that `meta.lastUpdated` shows."""
        self.now = _cut(self.now)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to commit, not even a received event."""
        return not (self.writes or self.hand_overs or self.statements or self.received)

    def stamp_anew(self, now: datetime) -> None:
        """Make `now` the time of every write: what became of the old one while rules worked is told to nobody."""
        self.now = _cut(now)
        for write in self.writes.values():
            if write.body is not None and not write.replica:
                write.body = with_identity(
                    write.body,
                    resource_type=write.resource_type,
                    id=write.id,
                    version=write.version,
                    last_updated=self.now,
                )

    def create(
        self, tree: Tree, *, id: str | None = None, body: bytes | None = None, chosen: bool = False
    ) -> str:
        """Add version 1 of a resource; `body` is its received text, else `tree` is written out.

        `chosen` says that the id is a client's, so that others may be creating the same at the same time.
        Returns the id, a random UUID when none is given. Raises DomainError if the set has that id already.
        """
        resource_type, new_id = tree["resourceType"], id or str(uuid4())
        if (resource_type, new_id) in self.writes:
            raise DomainError(f"{resource_type}/{new_id} is written twice", code="invalid")
        self._put("create", resource_type, new_id, 1, tree, body)
        self.chosen |= chosen
        return new_id

    def update(self, current: StoredResource, tree: Tree, *, body: bytes | None = None) -> None:
        """Add the version after `current`; the commit fails with VersionConflict if that is not the newest."""
        key = (current.resource_type, current.id)
        pending = self.writes.get(key)
        if pending is not None:
            self._put(pending.interaction, *key, pending.version, tree, body)
            return
        interaction: Interaction = "create" if current.deleted else "update"
        self._put(interaction, *key, current.version + 1, tree, body)

    def delete(self, current: StoredResource) -> None:
        """Add a deletion after `current`."""
        key = (current.resource_type, current.id)
        self.writes[key] = Write("delete", *key, current.version + 1, None, None)

    def hand_over(
        self,
        tree: Tree,
        *,
        id: str,
        interaction: Interaction = "create",
        body: bytes | None = None,
        base: StoredResource | None = None,
    ) -> str:
        """Ask the owner of the resource's type to write it; returns `id`.

        The same id handed over again with `create` has no second effect: derive it (uuid5) from what it is for.
        `base` is the copy that an update was made of: of what the owner has written since, nothing is overwritten.
        """
        resource_type = tree["resourceType"]
        entry = HandOverEntry(
            interaction,
            owner_of(resource_type),
            resource_type,
            id,
            tree,
            _with_id(tree, body, id) if interaction != "delete" else None,
            None if base is None else base.version,
        )
        self.hand_overs[(resource_type, id)] = entry
        return id

    def replica(self, event: Event) -> None:
        """Keep the newest version of another owner's resource; an older one changes nothing."""
        tree = parse(event.body) if event.body is not None else None
        interaction: Interaction = "delete" if tree is None else "create" if event.version == 1 else "update"
        key = (event.resource_type, event.resource_id)
        self.writes[key] = Write(interaction, *key, event.version, tree, event.body, replica=True)

    def mark_received(self, consumer: str, event_id: str) -> None:
        """Commit only if `consumer` has not received this event before."""
        self.received = (consumer, event_id)

    def only_if_none(self, condition: Search) -> None:
        """Commit only while nothing matches; the commit fails with VersionConflict if something does by then.

        Two commits with one condition are done one after the other, in whatever process they run.
        """
        self.absent.append(condition)

    def statement(self, sql: LiteralString, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> None:
        """Add a statement over a service's own table to the same commit."""
        self.statements.append(Statement(sql, parameters))

    def pending(self, resource_type: str) -> list[tuple[str, Tree]]:
        """Ids and trees of this type that the set creates, updates or hands over; replicas are left out."""
        written = [
            (w.id, w.tree)
            for w in self.writes.values()
            if w.resource_type == resource_type and w.tree is not None and not w.replica
        ]
        handed = [
            (h.id, h.tree)
            for h in self.hand_overs.values()
            if h.resource_type == resource_type and h.tree is not None
        ]
        return written + handed

    def stored(self, resource_type: str, id: str) -> StoredResource | None:
        """The resource as this set will write it, or None if the set does not touch it."""
        write = self.writes.get((resource_type, id))
        if write is None:
            return None
        return StoredResource(resource_type, id, write.version, self.now, write.interaction, write.body)

    def _put(
        self,
        interaction: Interaction,
        resource_type: str,
        id: str,
        version: int,
        tree: Tree,
        body: bytes | None,
    ) -> None:
        text = with_identity(
            body if body is not None else dumps(tree),
            resource_type=resource_type,
            id=id,
            version=version,
            last_updated=self.now,
        )
        self.writes[(resource_type, id)] = Write(interaction, resource_type, id, version, tree, text)


def _cut(now: datetime) -> datetime:
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _with_id(tree: Tree, body: bytes | None, id: str) -> bytes:
    """The text that the owner receives: as it came, with the id that was promised."""
    if body is not None and tree.get("id") == id:
        return body
    return dumps({**tree, "id": id})

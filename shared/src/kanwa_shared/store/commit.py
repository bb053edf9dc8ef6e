"""A change set as the one JSON argument of the SQL function `commit_changes`."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final, LiteralString
from uuid import uuid4

import msgspec
from psycopg import AsyncConnection, OperationalError
from psycopg import errors as pg
from psycopg.rows import TupleRow

from kanwa_shared.errors import Conflict, DomainError, VersionConflict
from kanwa_shared.fhir.search import IndexRows, Search, execute, index
from kanwa_shared.fhir.search.conditions import AllOf
from kanwa_shared.store.changes import ChangeSet, HandOverEntry, Write

# The transaction has its id before it waits for anything: an export sees by that id that it is under way.
COMMIT: Final[LiteralString] = "SELECT pg_current_xact_id(), commit_changes(%s::jsonb)"
LOCK_CONDITION: Final[LiteralString] = "SELECT pg_current_xact_id(), pg_advisory_xact_lock(%s::bigint)"
NO_ROWS: Final = IndexRows([], [], [], [], [])

ANOTHER_VERSION: Final = "KW001"
RECEIVED_BEFORE: Final = "KW002"


class ReceivedBefore(Exception):
    """The consumer has had this event; its effect stands and nothing was written again."""


class CommitUncertain(OperationalError):
    """The connection was lost while the database was committing: what was to be written is written, or not."""


async def commit(connection: AsyncConnection[TupleRow], changes: ChangeSet, *, base_url: str = "") -> None:
    """Write `changes` in one transaction: one round trip, more only where a service adds its own statements or a
    condition must stay unmatched.

    Absolute references below `base_url` are found like relative ones. The connection is in autocommit mode.
    Raises VersionConflict, ConstraintBroken (a service's own table refuses), ReceivedBefore; then nothing is written.
    Raises CommitUncertain if the connection is lost meanwhile.
    """
    argument = encode(changes, base_url=base_url)
    try:
        if not changes.statements and not changes.absent:
            await connection.execute(COMMIT, (argument,))
            return
        async with connection.transaction():
            await _hold_absent(connection, changes.absent, base_url)
            await connection.execute(COMMIT, (argument,))
            for statement in changes.statements:
                await connection.execute(statement.sql, statement.parameters)
    except pg.Error as error:
        raise refusal(error, connection) from error


async def _hold_absent(
    connection: AsyncConnection[TupleRow], conditions: Sequence[Search], base_url: str
) -> None:
    """Keep every condition unmatched until the transaction ends, as far as conditional writes go.

    The lock is PostgreSQL's, so it counts for all API processes and goes with the connection, whatever dies. Each
    search comes after the locks and sees what their last holders committed (READ COMMITTED: a snapshot for each
    statement). Raises VersionConflict if something matches by now.
    """
    # Sorted, so that two commits with the same conditions wait for each other instead of deadlocking.
    for key in sorted({_lock_key(condition) for condition in conditions}):
        await connection.execute(LOCK_CONDITION, (key,))
    for condition in conditions:
        if (await execute(connection, condition, base_url=base_url)).matches:
            raise VersionConflict("somebody else created what the condition asks for; repeat the request")


def _lock_key(condition: Search) -> int:
    """A number for what the search asks, however its parameters were ordered; equal in every process."""
    asked = condition.condition
    parts = asked.conditions if isinstance(asked, AllOf) else (asked,)
    text = "&".join([condition.resource_type, *sorted(map(repr, parts))])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), signed=True)


def encode(changes: ChangeSet, *, base_url: str = "") -> str:
    """The JSON text of `changes`, rows sorted by resource so that every commit locks in the same order."""
    writes = sorted(changes.writes.values(), key=lambda write: (write.resource_type, write.id))
    rows: dict[str, list[dict[str, Any]]] = {"references": [], "dates": [], "quantities": [], "strings": []}
    written = [_write_row(write, rows, base_url) for write in writes]
    consumer, received = changes.received or (None, None)
    return msgspec.json.encode(
        {
            "now": changes.now,
            "traceparent": changes.traceparent,
            "actor": changes.actor,
            "correlation_id": changes.correlation_id,
            "consumer": consumer,
            "received": received,
            "writes": written,
            "updates": sum(1 for write in writes if write.version > 1 and not write.replica),
            "replicas": sum(1 for write in writes if write.replica),
            **rows,
            # In the order in which the use case wrote, not in lock order: consumers see causes first.
            "outbox": [_event_row(write) for write in changes.writes.values() if not write.replica]
            + [_hand_over_row(entry) for entry in changes.hand_overs.values()],
        }
    ).decode()


def _write_row(write: Write, rows: dict[str, list[dict[str, Any]]], base_url: str) -> dict[str, Any]:
    indexed = index(write.tree, base_url=base_url) if write.tree is not None else NO_ROWS
    key = {"t": write.resource_type, "id": write.id}
    for param, target_type, target_id in indexed.references:
        rows["references"].append({**key, "param": param, "target_type": target_type, "target_id": target_id})
    for param, low, high in indexed.dates:
        rows["dates"].append({**key, "param": param, "low": low, "high": high})
    for param, low, high, system, code in indexed.quantities:
        rows["quantities"].append(
            {**key, "param": param, "low": low, "high": high, "system": system, "code": code}
        )
    for param, normalised, exact in indexed.strings:
        rows["strings"].append({**key, "param": param, "normalised": normalised, "exact": exact})
    return {
        **key,
        "v": write.version,
        "interaction": write.interaction,
        "replica": write.replica,
        "tokens": indexed.tokens,
        "body": write.body.decode() if write.body is not None else None,
    }


def _event_row(write: Write) -> dict[str, Any]:
    return {
        "event_id": uuid4(),
        "kind": "event",
        "t": write.resource_type,
        "id": write.id,
        "v": write.version,
        "interaction": write.interaction,
    }


def _hand_over_row(entry: HandOverEntry) -> dict[str, Any]:
    return {
        "event_id": uuid4(),
        "kind": "handover",
        "t": entry.resource_type,
        "id": entry.id,
        "v": entry.base,
        "interaction": entry.interaction,
        "target": entry.target,
        "payload": entry.body.decode() if entry.body is not None else None,
    }


def refusal(error: pg.Error, connection: AsyncConnection[TupleRow]) -> Exception:
    """What to raise for a commit's error: in words that a caller can act on; what is not foreseen stays what it is."""
    if connection.closed:
        return CommitUncertain(str(error))
    if error.sqlstate == RECEIVED_BEFORE:
        return ReceivedBefore(str(error))
    if error.sqlstate == ANOTHER_VERSION or error.diag.constraint_name == "resource_pkey":
        return VersionConflict(
            "the resource was written by somebody else; read it again and repeat the change"
        )
    if isinstance(error, pg.SerializationFailure | pg.DeadlockDetected):
        return VersionConflict("two requests changed the same resources; repeat the request")
    if isinstance(error, pg.ExclusionViolation | pg.UniqueViolation):
        return ConstraintBroken(error.diag.constraint_name or "", error.diag.message_detail or "")
    return error


class ConstraintBroken(Conflict):
    """A unique or exclusion constraint of a service's own table refused the commit.

    `constraint` names it, so that the use case can say what is taken; `detail` is for logs of constraint names only.
    """

    def __init__(self, constraint: str, detail: str):
        super().__init__("what you ask for is already taken or already exists")
        self.constraint = constraint
        self.detail = detail


__all__ = [
    "CommitUncertain",
    "ConstraintBroken",
    "DomainError",
    "ReceivedBefore",
    "commit",
    "encode",
    "refusal",
]

"""What was seen from outside during a run: the only thing that the checker looks at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A write that the server answered with 2xx. `resource` is `Type/id`.

    `version` is None where the answer only promised the resource (handed over to its owner). `body` is what was
    sent, for resources that nothing but this client shapes; else None. `replaces` is the version that the client's
    If-Match named, None if it named none.
    """

    resource: str
    version: int | None
    deleted: bool = False
    body: Tree | None = None
    replaces: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """One event as a consumer saw it; `body` is None for a deletion."""

    id: str
    source: str
    sequence: int
    resource: str
    version: int
    body: Tree | None


History = Mapping[int, Tree | None]


@dataclass(frozen=True, slots=True)
class Evidence:
    """`histories`: every resource with all its versions, as the FHIR API tells them; None is a deletion.

    `stream` is the whole of `/events`, `probe` what a consumer of its own queue received, both in order.
    `followed` is what a subscriber received that was cut off again and again and went on from its last event.
    `uncertain` names resources for which a client's write got no answer. `closed` names the referrals
    (`ServiceRequest/id`) that clients drove to the end. `reordered` names resources whose events the rig itself
    brought out of order on the way to the board. `given_up` are dead letters, in words. `boards` maps a name to
    what that board shows, part by part.
    """

    histories: Mapping[str, History]
    stream: Sequence[Seen]
    probe: Sequence[Seen]
    acknowledged: Sequence[Acknowledged] = ()
    followed: Sequence[Seen] = ()
    uncertain: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()
    reordered: frozenset[str] = frozenset()
    given_up: Sequence[str] = ()
    boards: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])

    def current(self, resource_type: str) -> dict[str, Tree]:
        """The resources of a type as they are now, by reference, without deleted ones."""
        newest = {
            reference: history[max(history)]
            for reference, history in self.histories.items()
            if history and reference.startswith(f"{resource_type}/")
        }
        return {reference: tree for reference, tree in newest.items() if tree is not None}


@dataclass(frozen=True, slots=True)
class Violation:
    """`kind` is one of KINDS; `subject` what it is about."""

    kind: str
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.subject}: {self.detail}"


KINDS = ("lost", "phantom", "duplicated", "order", "double booking", "read model")


@dataclass(slots=True)
class Verdict:
    """How often each check looked at something, and what it found."""

    checks: dict[str, int] = field(default_factory=dict[str, int])
    violations: list[Violation] = field(default_factory=list[Violation])

    def add(self, check: str, looked: int, found: Sequence[Violation]) -> None:
        """Note the result of one check."""
        self.checks[check] = self.checks.get(check, 0) + looked
        self.violations += found

    def count(self, kind: str) -> int:
        """How many violations of a kind."""
        return sum(1 for violation in self.violations if violation.kind == kind)

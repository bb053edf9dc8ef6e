"""What a fault may depend on beyond its own element: the resource around it and what that contains."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from kanwa_shared.fhir.json_types import Tree

CONTAINER: Final = ""
"""The local reference `#`: from a contained resource to the one around it."""


@dataclass(frozen=True, slots=True)
class ContainedFault:
    """A contained resource that breaks dom-2 to dom-5, by its position."""

    position: int
    message: str


class Scope:
    """A resource, the one that contains it, and the local references met so far."""

    __slots__ = ("_used", "contained", "container", "has_contained", "resource")

    def __init__(self, resource: Tree, container: "Scope | None" = None):
        self.resource = resource
        self.container = container
        self.contained: dict[str, Tree] = _by_id(resource) if "contained" in resource else {}
        self.has_contained = container is not None or "contained" in resource
        self._used: set[str] = set()

    @property
    def root(self) -> Tree:
        """FHIRPath's %rootResource: the container of a contained resource, or the resource itself."""
        return self.container.resource if self.container is not None else self.resource

    def refer(self, local_id: str) -> None:
        """Note a reference `#local_id`; inside a contained resource it also counts for the container."""
        self._used.add(local_id)
        if self.container is not None and local_id != CONTAINER:
            self.container.refer(local_id)
        elif self.container is not None:
            self.container.refer_back(self.resource)

    def refer_back(self, contained: Tree) -> None:
        """Note that a contained resource refers to its container."""
        if isinstance(contained.get("id"), str):
            self._used.add(contained["id"])

    def target(self, local_id: str) -> Tree | None:
        """The resource that `#local_id` means here; None if there is none."""
        outer = self.container or self
        return outer.resource if local_id == CONTAINER else outer.contained.get(local_id)

    def faults(self) -> Iterator[ContainedFault]:
        """The contained resources that break R4; call it after the whole resource was walked."""
        if "contained" not in self.resource or not isinstance(self.resource["contained"], list):
            return
        for position, inner in enumerate(cast("list[Any]", self.resource["contained"])):
            if isinstance(inner, dict):
                for message in self._faults_of(cast("Tree", inner)):
                    yield ContainedFault(position, message)

    def _faults_of(self, inner: Tree) -> Iterator[str]:
        if "contained" in inner:
            yield "a contained resource cannot contain resources itself (dom-2)."
        name = inner.get("id")
        if name is None or (isinstance(name, str) and name not in self._used):
            yield "is not referred to from the resource around it, nor refers to it (dom-3)."
        meta = inner.get("meta")
        if not isinstance(meta, dict):
            return
        if "versionId" in meta or "lastUpdated" in meta:
            yield "a contained resource cannot have meta.versionId or meta.lastUpdated (dom-4)."
        if "security" in meta:
            yield "a contained resource cannot have meta.security (dom-5)."


def _by_id(resource: Tree) -> dict[str, Tree]:
    contained = resource["contained"]
    if not isinstance(contained, list):
        return {}
    return {
        inner["id"]: cast("Tree", inner)
        for inner in cast("list[Any]", contained)
        if isinstance(inner, dict) and isinstance(cast("Tree", inner).get("id"), str)
    }

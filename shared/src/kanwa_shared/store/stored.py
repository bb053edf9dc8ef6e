"""A resource as the store gives it back."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from kanwa_shared.fhir.json_text import dumps, parse
from kanwa_shared.fhir.json_types import Tree

#: What the server gives, and the time that a Task carries of its last change: no two versions agree on it.
NOT_SAID: Final = frozenset({"id", "lastModified", "meta"})
_GIVEN_IN_META: Final = frozenset({"versionId", "lastUpdated"})


@dataclass(frozen=True, slots=True)
class StoredResource:
    """One version of one resource; `body` is its exact JSON text, None when the version is a deletion."""

    resource_type: str
    id: str
    version: int
    last_updated: datetime
    interaction: str
    body: bytes | None

    @property
    def deleted(self) -> bool:
        """Whether this version is a deletion."""
        return self.body is None

    @property
    def reference(self) -> str:
        """Relative reference, `Type/id`."""
        return f"{self.resource_type}/{self.id}"

    @property
    def tree(self) -> Tree:
        """A number-preserving tree of the text, parsed anew at each call: the caller may change it."""
        if self.body is None:
            raise ValueError(f"{self.reference} version {self.version} is a deletion and has no content")
        return parse(self.body)

    def says(self, tree: Tree) -> bool:
        """Whether this version says what `tree` does, whoever wrote it and when: profiles, labels and digits count."""
        return not self.deleted and _said(self.tree) == _said(tree)


def _said(tree: Tree) -> bytes:
    """The text of what a resource says; as text, for 1.5 and 1.50 are equal numbers."""
    said = {name: value for name, value in tree.items() if name not in NOT_SAID}
    meta = cast("Tree", tree.get("meta", {}))
    kept = {name: meta[name] for name in sorted(meta.keys() - _GIVEN_IN_META)}
    return dumps({**said, **({"meta": kept} if kept else {})})

"""Waits until the owners of what was handed over have written it: then their copies are here."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Final

from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.store.resources import ResourceStore
from kanwa_shared.store.stored import StoredResource

# How often the owners' copies are looked for while a client waits; each look is one indexed query. The longer it
# has taken the less a further moment matters, and a hundred looks cost more than the transaction.
FIRST_LOOK_SECONDS: Final = 0.02
LOOKS_GROW_BY: Final = 1.5
LAST_LOOK_SECONDS: Final = 0.2

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Awaited:
    """One hand-over: the copy that was here before, and the tree that is to be here; None for a deletion.

    `new`: it is created under an id that was drawn for it, so nobody else writes there.
    """

    before: StoredResource | None
    tree: Tree | None
    new: bool = False

    @property
    def worth_waiting(self) -> bool:
        """A deletion of what is not here changes nothing, so no copy will tell of it."""
        return self.tree is not None or (self.before is not None and not self.before.deleted)

    @property
    def changes_nothing(self) -> bool:
        """Whether the copy here says it already: then the owner writes no version."""
        return self.tree is not None and self.before is not None and self.before.says(self.tree)

    def shown_by(self, copy: StoredResource) -> bool:
        """Whether the copy is what the owner made of this hand-over, and not what was here or somebody else's.

        Of an id that the client chose the owner may have versions whose copies are still on their way here.
        """
        if self.tree is None:
            return copy.deleted and (self.before is None or copy.version > self.before.version)
        return self.new or copy.says(self.tree)


async def await_copies(
    store: ResourceStore, awaited: Mapping[Key, Awaited], *, seconds: float
) -> dict[Key, StoredResource]:
    """The copies that arrived in the time that a client can be made to wait."""
    missing = {key: one for key, one in awaited.items() if one.worth_waiting}
    shown: dict[Key, StoredResource] = {}
    deadline = monotonic() + seconds
    pause = FIRST_LOOK_SECONDS
    while missing:
        for key, copy in (await store.get_many(list(missing))).items():
            if missing[key].shown_by(copy):
                shown[key] = copy
                del missing[key]
        if not missing or monotonic() >= deadline:
            break
        await asyncio.sleep(min(pause, max(0.0, deadline - monotonic())))
        pause = min(pause * LOOKS_GROW_BY, LAST_LOOK_SECONDS)
    return shown

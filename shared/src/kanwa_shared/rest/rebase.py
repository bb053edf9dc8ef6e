"""A change that was made of an older version of a resource, as a change of the one that is current. Pure."""

from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.store.stored import NOT_SAID


def rebased(current: Tree, base: Tree, wanted: Tree) -> Tree | None:
    """`current` with the elements that `wanted` changed of `base`; None if somebody else has changed one of them."""
    changed = [
        name for name in sorted(base.keys() | wanted.keys()) if name not in NOT_SAID
        and _text(base, name) != _text(wanted, name)
    ]  # fmt: skip
    if any(_text(current, name) not in (_text(base, name), _text(wanted, name)) for name in changed):
        return None
    changed += [name for name in ("lastModified",) if name in wanted]
    kept = {name: value for name, value in current.items() if name not in changed}
    return {**kept, **{name: wanted[name] for name in changed if name in wanted}}


def _text(tree: Tree, name: str) -> bytes | None:
    """As text, for 1.5 and 1.50 are equal numbers."""
    return dumps({name: tree[name]}) if name in tree else None

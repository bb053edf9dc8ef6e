"""One way, or several, to break each constraint that a resource of an owned type can break.

`broken_constraints.jsonl` holds a line for each: the constraint's key, the resource type, and the change to merge
into the type's first seed at its root; null takes a member away. What is `invariants.ELSEWHERE` (narrative, contained,
ref-1) and ext-1 have operators of their own in `faults`. Nothing breaks ppc-2 to ppc-5: as R4 publishes them they ask
for a scope of the code system "something". The same goes for what drt-1 and que-12 say in words and not in their
expressions (a duration without code, two enableWhen without enableBehavior).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

Change = dict[str, Any]

_ROWS: Final = Path(__file__).with_name("broken_constraints.jsonl")


def breaking() -> Iterator[tuple[str, str, Change]]:
    """Key, resource type and change, in the file's order."""
    for line in _ROWS.read_text(encoding="utf-8").splitlines():
        key, resource_type, change = json.loads(line)
        yield key, resource_type, change


def merged(tree: Change, change: Change) -> Change:
    """The tree with the change's members in place of its own."""
    return {name: value for name, value in {**tree, **change}.items() if value is not None}

"""AdverseEvents as the summary tells them."""

from collections.abc import Iterable
from datetime import datetime

from kanwa_outcomes.domain.performed import Performed
from kanwa_outcomes.domain.references import references
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search.dates import range_of


def adverse_event_lines(performed: Performed, events: Iterable[tuple[str, Tree]]) -> tuple[str, ...]:
    """One line for each AdverseEvent that happened and may come of the procedure, in a fixed order.

    One that names a Procedure as its suspect belongs to that; another belongs here if it is not dated before
    the procedure began.
    """
    lines = [
        (tree.get("date", ""), reference, _line(tree))
        for reference, tree in events
        if _is_of(tree, performed)
    ]
    return tuple(line for _, _, line in sorted(lines))


def _is_of(event: Tree, performed: Performed) -> bool:
    if event.get("actuality") != "actual":
        return False
    suspects = references((s.get("instance", {}) for s in event.get("suspectEntity", ())), "Procedure")
    if suspects:
        return performed.reference in suspects
    happened = _happened(event)
    return happened is None or performed.started is None or happened >= performed.started


def _happened(event: Tree) -> datetime | None:
    # The end of what a partial date may mean: an event on the procedure's day counts as after it.
    return range_of(event["date"])[1] if "date" in event else None


def _line(event: Tree) -> str:
    graded = [_words(event[name]) for name in ("severity", "seriousness", "outcome") if name in event]
    details = [*graded, *([str(event["date"])] if "date" in event else [])]
    name = _words(event["event"]) if "event" in event else "adverse event without a name"
    return name + (f" ({', '.join(details)})" if details else "")


def _words(concept: Tree) -> str:
    codings: list[Tree] = concept.get("coding", [])
    shown = [str(c.get("display") or c.get("code", "")) for c in codings]
    return str(concept.get("text") or next(iter(shown), "not named"))

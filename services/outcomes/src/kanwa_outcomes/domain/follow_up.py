"""What is to be measured after a procedure, and when, as Tasks for whoever cares for the patient."""

from collections.abc import Iterator
from datetime import datetime
from uuid import NAMESPACE_URL, uuid5

from kanwa_outcomes.domain.findings import Course
from kanwa_outcomes.domain.performed import Performed
from kanwa_outcomes.domain.windows import Window, window_of
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import CatalogueEntry
from kanwa_shared.fhir.bundle import instant
from kanwa_shared.fhir.json_types import Tree


def follow_up_id(performed: Performed, day: int) -> str:
    """Always the same for one day after one procedure, so that it is planned once."""
    return str(uuid5(NAMESPACE_URL, f"{performed.reference}/follow-up/{day}"))


def is_follow_up(task: Tree) -> bool:
    """Whether a Task asks for a follow-up measurement."""
    return codes.has_coding(task.get("code", {}), codes.TASK, "follow-up")


def planned_tasks(performed: Performed, *, now: datetime) -> Iterator[tuple[str, Tree]]:
    """Ids and Tasks, one for each planned day; none while the end of the procedure is not known."""
    entry, ended = performed.entry, performed.ended
    if entry is None or ended is None:
        return
    for day in entry.follow_up_days:
        yield follow_up_id(performed, day), _task(performed, entry, window_of(entry, day, ended), now)


def after_facts(task: Tree, planned: Tree, course: Course, day: int, *, now: datetime) -> Tree | None:
    """An open follow-up Task as the facts have it: answered, or due at another time; None if nothing changed.

    `planned` is the Task as it would be planned now. A Task that somebody else closed stays closed.
    """
    if task["status"] not in {"requested", "received", "accepted", "ready", "in-progress"}:
        return None
    value = course.value_in(course.window(day))
    if value is not None:
        return {
            **task,
            "status": "completed",
            "lastModified": instant(now),
            "output": [
                {
                    "type": codes.concept(codes.TASK_OUTPUT, "measurement"),
                    "valueReference": {"reference": value.reference},
                }
            ],
        }
    timing = {name: planned[name] for name in ("description", "restriction")}
    if all(task.get(name) == value for name, value in timing.items()):
        return None
    return {**task, **timing, "lastModified": instant(now)}


def called_off(task: Tree, *, now: datetime) -> Tree:
    """A follow-up Task of a procedure that was entered in error."""
    reason = {"text": "the procedure was entered in error"}
    return {**task, "status": "cancelled", "statusReason": reason, "lastModified": instant(now)}


def _task(performed: Performed, entry: CatalogueEntry, window: Window, now: datetime) -> Tree:
    primary = window.day == entry.follow_up.primary_day
    closes = "; the loop closes with its first measure" if primary else ""
    task: Tree = {
        "resourceType": "Task",
        "status": "requested",
        "intent": "plan",
        "code": codes.concept(codes.TASK, "follow-up"),
        "description": f"Day {window.day} after {entry.display}{closes}",
        "focus": {"reference": performed.reference},
        "for": performed.subject,
        "authoredOn": instant(now),
        "lastModified": instant(now),
        # R4: the end of the restriction's period is the date by which the Task should be completed.
        "restriction": {"period": {"start": instant(window.opens), "end": instant(window.due)}},
        "input": [
            *(
                {"type": _input("measure"), "valueCodeableConcept": m.concept()}
                for m in entry.follow_up.measures
            ),
            {"type": _input("day"), "valueInteger": window.day},
            {"type": _input("primary"), "valueBoolean": primary},
        ],
    }
    return {**task, "basedOn": [{"reference": performed.request}]} if performed.request else task


def _input(code: str) -> Tree:
    return codes.concept(codes.TASK_INPUT, code)

"""What must follow from each referral, once; what no calendar may hold. Written from the contract, not from the code.

Part of the checker: pure functions over the evidence.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from tests.chaos.evidence import Evidence, Tree, Violation

K = "https://kanwa.example/fhir/CodeSystem"
#: Appointments in these states take their actors' time.
TAKING = frozenset({"pending", "booked", "arrived", "fulfilled", "checked-in"})
#: An actor that any number of Appointments may name at once: an offer, not a person or a room.
SHARED = frozenset({"HealthcareService", "Patient"})
Found = tuple[int, list[Violation]]


def bookings(evidence: Evidence) -> Found:
    """No actor has two Appointments at one time."""
    taken: dict[str, list[tuple[datetime, datetime, str]]] = defaultdict(list)
    for reference, tree in evidence.current("Appointment").items():
        if tree.get("status") in TAKING and "start" in tree and "end" in tree:
            span = datetime.fromisoformat(tree["start"]), datetime.fromisoformat(tree["end"])
            for actor in _actors(tree):
                taken[actor].append((*span, reference))
    found: list[Violation] = []
    looked = 0
    for actor, spans in taken.items():
        last_end, holder = None, ""
        for start, end, reference in sorted(spans):
            looked += 1
            if last_end is not None and start < last_end:
                found.append(Violation("double booking", actor, f"{holder} and {reference} overlap"))
            if last_end is None or end > last_end:
                last_end, holder = end, reference
    return looked, found


def effects_of_referrals(evidence: Evidence) -> Found:
    """Each referral has its coordination Task, and what came of it, exactly once."""
    tasks, procedures = evidence.current("Task"), evidence.current("Procedure")
    appointments, plans = evidence.current("Appointment"), evidence.current("CarePlan")
    documents, observations = evidence.current("DocumentReference"), evidence.current("Observation")
    requests = {
        reference: tree
        for reference, tree in evidence.current("ServiceRequest").items()
        if tree.get("intent") == "order" and tree.get("status") in {"active", "completed"}
    }
    of = {
        "coordination Task": _by(tasks, lambda t: _focus(t) if _coded(t, "fulfill") else []),
        "MDT Task": _by(tasks, lambda t: _focus(t) if _coded(t, "approve") else []),
        "CarePlan": _by(
            plans, lambda t: [a["reference"]["reference"] for a in t.get("activity", []) if "reference" in a]
        ),
        "Appointment": _by(appointments, lambda t: _based_on(t) if t.get("status") in TAKING else []),
        "Procedure": _by(procedures, _based_on),
        "summary": _by(documents, lambda t: _related(t) if _is_summary(t) else []),
    }
    found: list[Violation] = []
    for request, tree in requests.items():
        has = {what: of[what][request] for what in of}
        found += [
            Violation("duplicated", request, f"has {len(which)} of {what}: {', '.join(sorted(which))}")
            for what, which in has.items()
            if len(which) > 1
        ]
        wanted = ["coordination Task", "MDT Task"]
        # A time that is only held (pending) prepares nothing yet.
        if any(appointments[one]["status"] != "pending" for one in has["Appointment"]):
            wanted.append("Procedure")
        if request in evidence.closed or tree["status"] == "completed":
            wanted += ["Appointment", "Procedure", "summary"]
            wanted += [] if tree.get("priority") == "stat" else ["CarePlan"]
        found += [
            Violation("lost", request, f"{tree['status']} and has no {what}")
            for what in dict.fromkeys(wanted)
            if not has[what]
        ]
        if request in evidence.closed:
            found += _closed(request, tree, [tasks[t] for t in has["coordination Task"]])
    found += _twice(tasks, "follow-up Task", lambda t: _coded(t, "follow-up"), _follow_up_key)
    found += _twice(observations, "derived Observation", _is_derived, _derived_key)
    found += _follow_up_missing(evidence.closed, tasks)
    return len(requests), found


def _closed(request: str, tree: Tree, coordination: list[Tree]) -> Iterable[Violation]:
    if tree["status"] != "completed":
        yield Violation("lost", request, f"was driven to the end and is {tree['status']}")
    for task in coordination:
        states = [coding.get("code") for coding in task.get("businessStatus", {}).get("coding", [])]
        if task["status"] != "completed" or "7.0" not in states:
            yield Violation("lost", request, f"was driven to the end, its Task is {task['status']} {states}")


def _follow_up_missing(closed: Iterable[str], tasks: dict[str, Tree]) -> list[Violation]:
    planned = {
        reference for task in tasks.values() if _coded(task, "follow-up") for reference in _based_on(task)
    }
    return [
        Violation("lost", request, "was driven to the end and no follow-up was planned")
        for request in closed
        if request not in planned
    ]


def _twice(trees: dict[str, Tree], what: str, chosen: Any, key: Any) -> list[Violation]:
    counted = Counter(key(tree) for tree in trees.values() if chosen(tree))
    return [
        Violation("duplicated", str(found), f"{number} of {what}")
        for found, number in counted.items()
        if number > 1
    ]


def _by(trees: dict[str, Tree], about: Any) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = defaultdict(list)
    for reference, tree in trees.items():
        for subject in about(tree):
            grouped[subject].append(reference)
    return grouped


def _actors(appointment: Tree) -> set[str]:
    named = {
        participant.get("actor", {}).get("reference", "")
        for participant in appointment.get("participant", [])
    }
    return {actor for actor in named if actor and actor.partition("/")[0] not in SHARED}


def _follow_up_key(task: Tree) -> tuple[str, ...]:
    day = [str(entry["valueInteger"]) for entry in task.get("input", []) if "valueInteger" in entry]
    return (task.get("focus", {}).get("reference", ""), *day)


def _derived_key(observation: Tree) -> tuple[str, ...]:
    """What is derived, about which procedure, for which time."""
    code = [coding.get("code", "") for coding in observation["code"]["coding"]]
    part_of = [part.get("reference", "") for part in observation.get("partOf", [])]
    inputs = sorted(one.get("reference", "") for one in observation.get("derivedFrom", []))
    notes = [note.get("text", "") for note in observation.get("note", [])]
    return (*code, *part_of, observation.get("effectiveDateTime", ""), *inputs, *notes)


def _is_derived(observation: Tree) -> bool:
    codings = observation.get("code", {}).get("coding", [])
    return observation.get("status") != "entered-in-error" and any(
        coding.get("system") == f"{K}/outcome" for coding in codings
    )


def _is_summary(document: Tree) -> bool:
    return any(
        coding.get("code") == "referral-summary" for coding in document.get("type", {}).get("coding", [])
    )


def _coded(tree: Tree, code: str) -> bool:
    return any(coding.get("code") == code for coding in tree.get("code", {}).get("coding", []))


def _focus(task: Tree) -> list[str]:
    return [task["focus"]["reference"]] if "reference" in task.get("focus", {}) else []


def _based_on(tree: Tree) -> list[str]:
    return [str(based.get("reference", "")) for based in tree.get("basedOn", [])]


def _related(document: Tree) -> list[str]:
    return [str(one.get("reference", "")) for one in document.get("context", {}).get("related", [])]

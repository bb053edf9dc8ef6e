"""The chaos checker finds each kind of fault in evidence that is right but for that fault."""

import ast
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import checker, effects, evidence
from tests.chaos.checker import CHECKS, check
from tests.chaos.evidence import Acknowledged, Evidence, Seen, Tree

K = "https://kanwa.example/fhir/CodeSystem"
REQUEST = "ServiceRequest/r"


def resource(reference: str, version: int, **elements: Any) -> Tree:
    resource_type, _, id = reference.partition("/")
    return {"resourceType": resource_type, "id": id, "meta": {"versionId": str(version)}, **elements}


def coded(system: str, code: str) -> Tree:
    return {"coding": [{"system": system, "code": code}]}


def referral_loop() -> dict[str, list[Tree]]:
    """One closed loop: what each resource looked like, version by version."""
    subject, based = {"reference": "Patient/p"}, [{"reference": REQUEST}]
    request = {"intent": "order", "priority": "routine", "subject": subject}
    fulfill = {
        "code": coded("http://hl7.org/fhir/CodeSystem/task-code", "fulfill"),
        "focus": {"reference": REQUEST},
    }
    approve = {
        "code": coded("http://hl7.org/fhir/CodeSystem/task-code", "approve"),
        "focus": {"reference": REQUEST},
    }
    follow_up = {
        "code": coded(f"{K}/task", "follow-up"),
        "basedOn": based,
        "focus": {"reference": "Procedure/o"},
        "input": [{"valueInteger": 7}],
    }
    derived = {
        "code": coded(f"{K}/outcome", "jivrosg-response"),
        "status": "final",
        "partOf": [{"reference": "Procedure/o"}],
        "derivedFrom": [{"reference": "Observation/a"}, {"reference": "Observation/b"}],
    }
    appointment = {
        "basedOn": based,
        "start": "2026-12-01T09:00:00+00:00",
        "end": "2026-12-01T10:00:00+00:00",
        "participant": [
            {"actor": {"reference": f"{actor}"}}
            for actor in ("Patient/p", "Location/suite", "Practitioner/d")
        ],
    }
    changes = {
        "Patient/p": [{"birthDate": "1958-03-02"}, {"birthDate": "1958-03-03"}],
        REQUEST: [{**request, "status": "active"}, {**request, "status": "completed"}],
        "Task/f": [
            {**fulfill, "status": "received"},
            {**fulfill, "status": "completed", "businessStatus": {"coding": [{"code": "7.0"}]}},
        ],
        "Task/a": [{**approve, "status": "requested"}, {**approve, "status": "completed"}],
        "Task/u": [{**follow_up, "status": "requested"}],
        "CarePlan/c": [{"activity": [{"reference": {"reference": REQUEST}}]}],
        "Appointment/t": [{**appointment, "status": "booked"}, {**appointment, "status": "fulfilled"}],
        "Procedure/o": [
            {"basedOn": based, "status": "preparation"},
            {"basedOn": based, "status": "completed"},
        ],
        "Observation/d": [derived],
        "DocumentReference/s": [
            {
                "type": coded(f"{K}/document-type", "referral-summary"),
                "context": {"related": [{"reference": REQUEST}]},
            }
        ],
    }
    return {
        reference: [resource(reference, n, **elements) for n, elements in enumerate(versions, start=1)]
        for reference, versions in changes.items()
    }


def sound() -> Evidence:
    """A run in which all is well: duplicates and interleavings that the contract allows are in it."""
    histories = {
        reference: dict(enumerate(versions, start=1)) for reference, versions in referral_loop().items()
    }
    histories["Patient/gone"] = {1: resource("Patient/gone", 1), 2: None}
    events = events_of(histories)
    return Evidence(
        histories=histories,
        stream=events,
        probe=[*events[:4], events[2], events[0], *events[4:]],
        followed=list(events),
        acknowledged=[
            Acknowledged("Patient/p", 1, body={"resourceType": "Patient", "birthDate": "1958-03-02"}),
            Acknowledged("Patient/p", 2, body=histories["Patient/p"][2]),
            Acknowledged("Observation/d", None),
            Acknowledged("Patient/gone", 2, deleted=True),
        ],
        closed=frozenset({REQUEST}),
        boards={"board": {"r": "closed"}, "rebuilt": {"r": "closed"}},
    )


def events_of(histories: Any) -> list[Seen]:
    """All first versions, then all second ones: in order within each resource."""
    sequences: dict[str, int] = {}
    events: list[Seen] = []
    for version in (1, 2, 3):
        for reference, history in histories.items():
            if version in history:
                source = "scheduling" if reference.startswith(("Appointment", "Procedure")) else "intake"
                sequences[source] = sequences.get(source, 0) + 1
                id = f"{reference}/{version}"
                events.append(Seen(id, source, sequences[source], reference, version, history[version]))
    return events


def found(evidence: Evidence) -> set[tuple[str, str]]:
    """(check, kind) of everything that is found."""
    return {(name, violation.kind) for name, judge in CHECKS.items() for violation in judge(evidence)[1]}


def with_history(reference: str, versions: list[Any]) -> Evidence:
    """All is well but for one resource, which has these versions, each with its event."""
    histories = {**sound().histories, reference: dict(enumerate(versions, start=1))}
    events = events_of(histories)
    return replace(sound(), histories=histories, stream=events, probe=events, followed=events)


def without(events: list[Seen], resource: str, version: int) -> list[Seen]:
    return [event for event in events if (event.resource, event.version) != (resource, version)]


def changed(events: list[Seen], at: int, **change: Any) -> list[Seen]:
    return [*events[:at], replace(events[at], **change), *events[at + 1 :]]


def test_a_sound_run_is_found_sound_and_every_check_looked_at_something() -> None:
    verdict = check(sound())
    assert verdict.violations == []
    assert set(verdict.checks) == set(CHECKS)
    assert all(verdict.checks.values())


def test_the_checker_imports_nothing_of_the_product() -> None:
    for module in (checker, effects, evidence):
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.startswith("kanwa")]


SOUND = sound()
EVENTS = list(SOUND.stream)
SECOND = next(n for n, event in enumerate(EVENTS) if (event.resource, event.version) == ("Patient/p", 2))
PHANTOM = Seen("x", "intake", max(e.sequence for e in EVENTS if e.source == "intake") + 1, "Task/x", 1, {})


def acknowledged(*writes: Acknowledged) -> Evidence:
    return replace(SOUND, acknowledged=writes)


def probed(events: list[Seen]) -> Evidence:
    return replace(SOUND, probe=events)


def streamed(events: list[Seen]) -> Evidence:
    return replace(SOUND, stream=events, followed=events)


FAULTS: dict[str, tuple[Callable[[], Evidence], tuple[str, str]]] = {
    "an acknowledged version that is not there": (
        lambda: acknowledged(Acknowledged("Patient/p", 3)),
        ("acknowledged writes exist", "lost"),
    ),
    "a promised resource that is not there": (
        lambda: acknowledged(Acknowledged("Observation/x", None)),
        ("acknowledged writes exist", "lost"),
    ),
    "an acknowledged text that was overwritten": (
        lambda: acknowledged(
            Acknowledged("Patient/p", 2, body={"resourceType": "Patient", "birthDate": "1900"})
        ),
        ("acknowledged writes exist", "lost"),
    ),
    "an acknowledged deletion that is none": (
        lambda: acknowledged(Acknowledged("Patient/p", 2, deleted=True)),
        ("acknowledged writes exist", "lost"),
    ),
    "one version for two writers": (
        lambda: acknowledged(
            Acknowledged("Patient/p", 2, body={"resourceType": "Patient", "birthDate": "1958-03-03"}),
            Acknowledged("Patient/p", 2, body={"resourceType": "Patient", "birthDate": "1958-03-04"}),
        ),
        ("acknowledged writes exist", "lost"),
    ),
    "a version that vanished": (
        lambda: replace(
            SOUND, histories={**SOUND.histories, "Patient/p": {2: SOUND.histories["Patient/p"][2]}}
        ),
        ("histories without a gap", "lost"),
    ),
    "a write whose event the stream never told": (
        lambda: streamed(without(EVENTS, "CarePlan/c", 1)),
        ("writes with their event", "lost"),
    ),
    "a write whose event was never published": (
        lambda: probed(without(EVENTS, "CarePlan/c", 1)),
        ("writes with their event", "lost"),
    ),
    "an event of a write that was rolled back": (
        lambda: probed([*EVENTS, PHANTOM]),
        ("events with their write", "phantom"),
    ),
    "an event with other content than the write": (
        lambda: probed(changed(EVENTS, SECOND, body={"resourceType": "Patient"})),
        ("events with their write", "phantom"),
    ),
    "two events for one version": (
        lambda: probed([*EVENTS, replace(EVENTS[SECOND], id="another")]),
        ("one event for a version", "duplicated"),
    ),
    "a sequence that was given twice": (
        lambda: probed(changed(EVENTS, SECOND, sequence=1)),
        ("one event for a version", "duplicated"),
    ),
    "a gap in the sequence of a source": (
        lambda: probed(without(EVENTS, "Patient/p", 2)),
        ("sequences without a gap", "lost"),
    ),
    "a later version before an earlier one": (
        lambda: probed([EVENTS[SECOND], *without(EVENTS, "Patient/p", 2)]),
        ("versions in order", "order"),
    ),
    "an event that the log has twice": (
        lambda: streamed([*EVENTS, EVENTS[SECOND]]),
        ("effects once in the log", "duplicated"),
    ),
    "an event that a resumed subscriber missed": (
        lambda: replace(SOUND, followed=without(EVENTS, "Task/u", 1)),
        ("resumed stream whole", "lost"),
    ),
    "a resumed subscriber that received nothing": (
        lambda: replace(SOUND, followed=[]),
        ("resumed stream whole", "lost"),
    ),
    "an event that a resumed subscriber had twice": (
        lambda: replace(SOUND, followed=[*EVENTS, EVENTS[0]]),
        ("resumed stream whole", "duplicated"),
    ),
    "an order that only the resumed subscriber saw": (
        lambda: replace(SOUND, followed=EVENTS[::-1]),
        ("resumed stream whole", "order"),
    ),
    "an update that overwrote another than it named": (
        lambda: replace(SOUND, acknowledged=[*SOUND.acknowledged, Acknowledged("Task/f", 2, replaces=0)]),
        ("acknowledged writes exist", "lost"),
    ),
    "an effect that was written twice": (
        lambda: with_history("Task/u", [SOUND.histories["Task/u"][1]] * 2),
        ("effects once in the store", "duplicated"),
    ),
    "a deletion that was written twice": (
        lambda: with_history("Patient/gone", [resource("Patient/gone", 1), None, None]),
        ("effects once in the store", "duplicated"),
    ),
    "an event that a consumer gave up": (
        lambda: replace(SOUND, given_up=["kanwa.mdt.dead: …"]),
        ("events not given up", "lost"),
    ),
    "read models that differ": (
        lambda: replace(SOUND, boards={"board": {"r": "closed"}, "rebuilt": {"r": "booked"}}),
        ("read models equal", "read model"),
    ),
    "a case that only one read model has": (
        lambda: replace(SOUND, boards={"board": {"r": "closed"}, "rebuilt": {"r": "closed", "s": "booked"}}),
        ("read models equal", "read model"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_and_named(fault: str) -> None:
    make, expected = FAULTS[fault]
    assert expected in found(make())


EFFECTS = ["Task/f", "Task/a", "CarePlan/c", "Appointment/t", "Procedure/o", "DocumentReference/s"]


@pytest.mark.parametrize("reference", EFFECTS)
def test_an_effect_of_a_referral_that_is_missing_is_lost(reference: str) -> None:
    histories = {name: history for name, history in SOUND.histories.items() if name != reference}
    assert ("effects of each referral", "lost") in found(replace(SOUND, histories=histories))


@pytest.mark.parametrize("reference", [*EFFECTS, "Task/u", "Observation/d"])
def test_an_effect_of_a_referral_that_is_there_twice_is_duplicated(reference: str) -> None:
    again = with_history(
        f"{reference}-again", [deepcopy(tree) for tree in SOUND.histories[reference].values()]
    )
    assert ("effects of each referral", "duplicated") in found(again)


@pytest.mark.parametrize("reference", [REQUEST, "Task/f"])
def test_a_loop_that_was_driven_to_its_end_and_is_not_closed_is_lost(reference: str) -> None:
    assert ("effects of each referral", "lost") in found(
        with_history(reference, [SOUND.histories[reference][1]])
    )


def test_a_follow_up_that_was_never_planned_is_lost() -> None:
    histories = {name: history for name, history in SOUND.histories.items() if name != "Task/u"}
    assert ("effects of each referral", "lost") in found(replace(SOUND, histories=histories))


@pytest.mark.parametrize(
    ("start", "end", "status", "overlaps"),
    [
        ("2026-12-01T09:30:00+00:00", "2026-12-01T09:40:00+00:00", "booked", True),
        ("2026-12-01T10:30:00+01:00", "2026-12-01T12:00:00+01:00", "pending", True),
        ("2026-12-01T10:00:00+00:00", "2026-12-01T11:00:00+00:00", "booked", False),
        ("2026-12-01T09:30:00+00:00", "2026-12-01T09:40:00+00:00", "cancelled", False),
    ],
)
def test_two_appointments_of_one_actor_at_one_time_are_a_double_booking(
    start: str, end: str, status: str, overlaps: bool
) -> None:
    tree = resource(
        "Appointment/other",
        1,
        status=status,
        start=start,
        end=end,
        participant=[{"actor": {"reference": "Location/suite"}}, {"actor": {"reference": "Practitioner/e"}}],
    )
    violations = found(with_history("Appointment/other", [tree]))
    assert (("no double booking", "double booking") in violations) is overlaps


def test_one_long_appointment_overlaps_with_every_one_inside_it() -> None:
    def at(name: str, start: int, end: int) -> tuple[str, Tree]:
        times = {"start": f"2026-12-02T{start:02}:00:00+00:00", "end": f"2026-12-02T{end:02}:00:00+00:00"}
        participant = [{"actor": {"reference": "Location/suite"}}]
        return f"Appointment/{name}", resource(
            f"Appointment/{name}", 1, status="booked", participant=participant, **times
        )

    trees = dict([at("long", 8, 18), at("short", 9, 10), at("late", 16, 17)])
    histories = {**SOUND.histories, **{name: {1: tree} for name, tree in trees.items()}}
    _, violations = effects.bookings(replace(SOUND, histories=histories))
    assert len(violations) == 2


def test_a_version_repeated_by_a_client_is_no_second_effect() -> None:
    twice = with_history("Patient/q", [resource("Patient/q", 1), resource("Patient/q", 2)])
    assert ("effects once in the store", "duplicated") in found(twice)
    answered = replace(twice, acknowledged=[Acknowledged("Patient/q", 2)])
    assert found(answered) == set()
    assert found(replace(twice, uncertain=frozenset({"Patient/q"}))) == set()


def test_order_is_not_asked_of_the_log_where_the_rig_itself_changed_it() -> None:
    swapped = [EVENTS[SECOND], *without(EVENTS, "Patient/p", 2)]
    assert ("versions in order", "order") in found(streamed(swapped))
    allowed = replace(streamed(swapped), reordered=frozenset({"Patient/p"}))
    assert found(allowed) == set()
    assert ("versions in order", "order") in found(replace(allowed, probe=swapped))


def test_a_time_that_is_only_held_needs_no_procedure_yet() -> None:
    held = {**SOUND.histories["Appointment/t"][1], "status": "pending"}
    kept = {name: h for name, h in SOUND.histories.items() if name not in {"Procedure/o", "Task/u"}}
    request = {1: SOUND.histories[REQUEST][1]}
    histories = {**kept, REQUEST: request, "Appointment/t": {1: held}}
    of_a_hold = replace(SOUND, histories=histories, closed=frozenset())
    assert effects.effects_of_referrals(of_a_hold)[1] == []
    booked = replace(of_a_hold, histories={**histories, "Appointment/t": {1: {**held, "status": "booked"}}})
    assert [violation.kind for violation in effects.effects_of_referrals(booked)[1]] == ["lost"]

"""What must hold after any faults, judged from the evidence alone; shares no code with kanwa.

Each check gives how many things it looked at and what is wrong. Pure functions, without I/O.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tests.chaos.effects import bookings, effects_of_referrals
from tests.chaos.evidence import Evidence, Seen, Tree, Verdict, Violation

Found = tuple[int, list[Violation]]


def check(evidence: Evidence) -> Verdict:
    """Judge everything."""
    verdict = Verdict()
    for name, judge in CHECKS.items():
        verdict.add(name, *judge(evidence))
    return verdict


def acknowledged_writes_exist(evidence: Evidence) -> Found:
    """What a client was told is written is there, in its version and with its content, and belongs to it alone.

    A write with If-Match comes right after the version that it named, so it overwrote nobody.
    """
    found: list[Violation] = []
    owners: dict[tuple[str, int], Tree] = {}
    for write in evidence.acknowledged:
        history = evidence.histories.get(write.resource, {})
        if write.version is None:
            if not history:
                found.append(Violation("lost", write.resource, "promised with 2xx, and there is no version"))
            continue
        name = f"{write.resource}/_history/{write.version}"
        if write.version not in history:
            found.append(Violation("lost", name, "acknowledged, and the version does not exist"))
            continue
        stored = history[write.version]
        if (stored is None) != write.deleted:
            found.append(Violation("lost", name, "acknowledged, and the version is something else"))
        elif write.body is not None and stored is not None and content(stored) != content(write.body):
            found.append(Violation("lost", name, "acknowledged, and the version has other content"))
        if write.replaces is not None and write.version != write.replaces + 1:
            found.append(
                Violation("lost", name, f"took the place of version {write.replaces} over another's")
            )
        if write.body is not None:
            other = owners.setdefault((write.resource, write.version), write.body)
            if content(other) != content(write.body):
                found.append(Violation("lost", name, "two clients were told that this version is theirs"))
    return len(evidence.acknowledged), found


def histories_have_no_gap(evidence: Evidence) -> Found:
    """Versions are 1, 2, 3 and so on."""
    found = [
        Violation("lost", reference, f"versions are {sorted(history)}")
        for reference, history in evidence.histories.items()
        if sorted(history) != list(range(1, len(history) + 1))
    ]
    return len(evidence.histories), found


def every_write_has_its_event(evidence: Evidence) -> Found:
    """No version without its event, for either consumer."""
    looked, found = 0, list[Violation]()
    for consumer, seen in _consumers(evidence):
        told = {(event.resource, event.version) for event in seen}
        for reference, history in evidence.histories.items():
            looked += len(history)
            found += [
                Violation("lost", f"{reference}/_history/{version}", f"{consumer} never received its event")
                for version in history
                if (reference, version) not in told
            ]
    return looked, found


def every_event_has_its_write(evidence: Evidence) -> Found:
    """No event that tells of what is not in the store."""
    looked, found = 0, list[Violation]()
    for consumer, seen in _consumers(evidence):
        for event in seen:
            looked += 1
            history = evidence.histories.get(event.resource, {})
            name = f"{event.resource}/_history/{event.version}"
            if event.version not in history:
                found.append(
                    Violation("phantom", name, f"{consumer} received it, and it was never committed")
                )
            elif history[event.version] != event.body:
                found.append(Violation("phantom", name, f"{consumer} received other content than is stored"))
    return looked, found


def a_version_has_one_event(evidence: Evidence) -> Found:
    """However often an event comes, its id, its version and its sequence stay together."""
    of_version: dict[tuple[str, int], Seen] = {}
    of_sequence: dict[tuple[str, int], Seen] = {}
    of_id: dict[str, Seen] = {}
    looked, found = 0, list[Violation]()
    for consumer, seen in _consumers(evidence):
        for event in seen:
            looked += 1
            for known in (
                of_version.setdefault((event.resource, event.version), event),
                of_sequence.setdefault((event.source, event.sequence), event),
                of_id.setdefault(event.id, event),
            ):
                if _identity(known) != _identity(event):
                    found.append(
                        Violation(
                            "duplicated", _say(event), f"{consumer} received it, and before it {_say(known)}"
                        )
                    )
    return looked, found


def sequences_have_no_gap(evidence: Evidence) -> Found:
    """Each source counts 1, 2, 3 and so on, and each consumer received every number."""
    looked, found = 0, list[Violation]()
    highest: dict[str, int] = defaultdict(int)
    for _, seen in _consumers(evidence):
        for event in seen:
            highest[event.source] = max(highest[event.source], event.sequence)
    for consumer, seen in _consumers(evidence):
        for source, last in highest.items():
            had = {event.sequence for event in seen if event.source == source}
            looked += last
            found += [
                Violation("lost", f"{source} {number}", f"{consumer} never received this sequence")
                for number in range(1, last + 1)
                if number not in had
            ]
    return looked, found


def versions_come_in_order(evidence: Evidence) -> Found:
    """Whatever comes twice: for the first time, a version comes right after the one before it."""
    looked, found = 0, list[Violation]()
    for consumer, seen in _consumers(evidence):
        newest: dict[str, int] = defaultdict(int)
        for event in seen:
            looked += 1
            before = newest[event.resource]
            if event.version > before + 1 and not (
                consumer == STREAM and event.resource in evidence.reordered
            ):
                found.append(
                    Violation(
                        "order",
                        event.resource,
                        f"{consumer} received version {event.version} right after {before}",
                    )
                )
            newest[event.resource] = max(before, event.version)
    return looked, found


def the_stream_tells_once(evidence: Evidence) -> Found:
    """The board's log has the effect of each event once."""
    had: set[str] = set()
    found: list[Violation] = []
    for event in evidence.stream:
        if event.id in had:
            found.append(Violation("duplicated", _say(event), "the event stream tells it twice"))
        had.add(event.id)
    return len(evidence.stream), found


def a_resumed_stream_is_whole(evidence: Evidence) -> Found:
    """A subscriber that was cut off and went on from its last event has what one has that never left."""
    whole = [event.id for event in evidence.stream]
    had = [event.id for event in evidence.followed]
    if had == whole:
        return len(had), []
    missing, extra = len(set(whole) - set(had)), len(had) - len(set(had) & set(whole))
    kind = "lost" if missing else "duplicated" if extra else "order"
    detail = f"{missing} of {len(whole)} events missing, {extra} told twice or never in the log"
    return len(had), [Violation(kind, "a subscriber that went on from its last event", detail)]


def nothing_is_written_twice(evidence: Evidence) -> Found:
    """A version that kanwa wrote by itself differs from the one before: else an effect happened twice."""
    clients = {(write.resource, write.version) for write in evidence.acknowledged}
    looked, found = 0, list[Violation]()
    for reference, history in evidence.histories.items():
        for version in sorted(history)[1:]:
            looked += 1
            before, after = history.get(version - 1), history[version]
            same = _without_time(before) == _without_time(after)
            if same and (reference, version) not in clients and reference not in evidence.uncertain:
                found.append(
                    Violation(
                        "duplicated", f"{reference}/_history/{version}", "changes nothing of the one before"
                    )
                )
    return looked, found


def nothing_is_given_up(evidence: Evidence) -> Found:
    """No fault of the surroundings lets a consumer put an event aside for good."""
    found = [Violation("lost", "a dead letter", letter) for letter in evidence.given_up]
    return len({event.id for event in evidence.probe}), found


def boards_are_equal(evidence: Evidence) -> Found:
    """The read model, the one rebuilt from the log, and that of a board that never left show the same."""
    names = list(evidence.boards)
    looked, found = 0, list[Violation]()
    for name in names[1:]:
        first, other = evidence.boards[names[0]], evidence.boards[name]
        for part in sorted(first.keys() | other.keys()):
            looked += 1
            if first.get(part) != other.get(part):
                found.append(Violation("read model", part, f"'{names[0]}' and '{name}' differ"))
    return looked, found


CHECKS: Final[dict[str, Callable[[Evidence], Found]]] = {
    "acknowledged writes exist": acknowledged_writes_exist,
    "histories without a gap": histories_have_no_gap,
    "writes with their event": every_write_has_its_event,
    "events with their write": every_event_has_its_write,
    "one event for a version": a_version_has_one_event,
    "sequences without a gap": sequences_have_no_gap,
    "versions in order": versions_come_in_order,
    "effects once in the log": the_stream_tells_once,
    "resumed stream whole": a_resumed_stream_is_whole,
    "effects once in the store": nothing_is_written_twice,
    "effects of each referral": effects_of_referrals,
    "no double booking": bookings,
    "events not given up": nothing_is_given_up,
    "read models equal": boards_are_equal,
}
STREAM: Final = "the event stream"
PROBE: Final = "the probing consumer"


def content(tree: Tree) -> Tree:
    """A resource without what the server gives it."""
    return {name: value for name, value in tree.items() if name not in {"id", "meta"}}


def _without_time(tree: Tree | None) -> Tree | None:
    """What a version says, whenever it was written: a Task carries that time in its content too."""
    if tree is None:
        return None
    return {name: value for name, value in content(tree).items() if name != "lastModified"}


def _consumers(evidence: Evidence) -> Iterable[tuple[str, Sequence[Seen]]]:
    return ((STREAM, evidence.stream), (PROBE, evidence.probe))


def _identity(event: Seen) -> tuple[str, str, int, str, int]:
    return event.id, event.source, event.sequence, event.resource, event.version


def _say(event: Seen) -> str:
    return f"{event.resource}/_history/{event.version} ({event.source} {event.sequence}, id {event.id})"

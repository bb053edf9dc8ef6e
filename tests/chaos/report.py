"""A run in words: faults by kind, what the load did, checks, and whatever is wrong."""

from collections import Counter

from tests.chaos.evidence import KINDS
from tests.chaos.rig import Outcome

SHOWN = 12


def report(outcome: Outcome) -> str:
    """The text that `make chaos` prints."""
    lines = [f"faults: {outcome.faults.total()}"]
    lines += _counts(outcome.faults)
    lines += ["load:", *_counts(outcome.load)]
    lines += [
        f"  {outcome.acknowledged} writes acknowledged, {outcome.unanswered} without an answer",
        f"  {outcome.events} events in the log, {outcome.deliveries} deliveries to the probing consumer",
        "checks:",
    ]
    lines += [f"  {number:>8} {name}" for name, number in outcome.verdict.checks.items()]
    lines += ["found:", *(f"  {outcome.verdict.count(kind):>8} {kind}" for kind in KINDS)]
    for kind in KINDS:
        of_kind = [violation for violation in outcome.verdict.violations if violation.kind == kind]
        lines += [f"  {violation}" for violation in of_kind[:SHOWN]]
        lines += [f"  and {len(of_kind) - SHOWN} more {kind}"] if len(of_kind) > SHOWN else []
    lines += [f"  gave up: {what}" for what in outcome.gave_up]
    lines += [f"  fault not brought about: {what}" for what in outcome.failed_faults]
    ends = ", ".join(f"{name} {number}" for name, number in sorted(outcome.own_ends.items()))
    lines += [f"  processes that ended by themselves and were started again: {ends}"] if ends else []
    lines += [", ".join(f"{name} {seconds:.0f} s" for name, seconds in outcome.seconds.items())]
    lines += [f"seed {outcome.seed}: {'sound' if outcome.sound else 'NOT SOUND'}"]
    return "\n".join(lines)


def _counts(counted: Counter[str]) -> list[str]:
    return [f"  {number:>8} {name}" for name, number in sorted(counted.items())]

"""Which fault when: a pure function of the seed, so that a run can be replayed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

#: Kinds that a process is the target of.
OF_PROCESSES: Final = frozenset({"kill", "pause", "clock jump"})
#: Kinds that a connection is the target of.
OF_CONNECTIONS: Final = frozenset({"cut", "delay"})
CONNECTIONS: Final = ("broker", "database", "redis")
CONSUMERS: Final = ("intake", "scheduling", "outcomes", "mdt")
#: How often each kind is drawn, in relation to the others.
WEIGHTS: Final = {
    "kill": 40,
    "cut": 24,
    "duplicates": 12,
    "delay": 8,
    "pause": 5,
    "subscriber away": 5,
    "reordered": 5,
    "clock jump": 5,
    "redis crash": 3,
    "database crash": 2,
    "database restart": 2,
    "broker node loss": 2,
    "broker away": 1,
    "broker restart": 1,
}
#: Mean time between two faults, and the part of the run in which no fault begins any more.
EVERY_SECONDS: Final = 2.5
CALM_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Fault:
    """`at` seconds after the start; `draw` (0 to 1) decides whatever else is left to chance in it."""

    at: float
    kind: str
    target: str
    draw: float

    @property
    def name(self) -> str:
        """Kind and target, as it is counted."""
        return f"{self.kind} {self.target}".strip()


def schedule(seed: int, seconds: float, kinds: Sequence[str], processes: Sequence[str]) -> list[Fault]:
    """Faults over `seconds`: each kind at least once, every process killed once, the rest drawn by weight."""
    dice = random.Random(f"{seed} schedule")
    number = max(len(kinds), round((seconds - CALM_SECONDS) / EVERY_SECONDS))
    wanted = [(kind, _target(kind, dice, processes)) for kind in kinds if kind != "kill"]
    wanted += [("kill", process) for process in processes]
    weights = [WEIGHTS[kind] for kind in kinds]
    while len(wanted) < number:
        kind = dice.choices(kinds, weights)[0]
        wanted.append((kind, _target(kind, dice, processes)))
    dice.shuffle(wanted)
    step = (seconds - CALM_SECONDS) / len(wanted)
    return [
        Fault(round((place + dice.random()) * step, 2), kind, target, dice.random())
        for place, (kind, target) in enumerate(wanted)
    ]


def _target(kind: str, dice: random.Random, processes: Sequence[str]) -> str:
    if kind in OF_PROCESSES:
        return dice.choice(processes)
    if kind in OF_CONNECTIONS:
        return dice.choice(CONNECTIONS)
    return dice.choice(CONSUMERS) if kind in {"duplicates", "reordered"} else ""

"""A short run of the fault rig: every process killed once, every kind of fault that needs no cluster."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.chaos.deployment import Layout
from tests.chaos.faults import Pace
from tests.chaos.report import report
from tests.chaos.rig import rig, run
from tests.chaos.schedule import WEIGHTS

SECONDS = 60.0
#: A pause is longer than two heartbeats of the broker's.
PACE = Pace(pause=(7.0, 8.0), away=(3.0, 5.0))
#: What needs a cluster, or a library that is not everywhere, is left to `make chaos`.
KINDS = [kind for kind in WEIGHTS if kind not in {"broker node loss", "clock jump"}]
LAYOUT = Layout(standby=())


async def test_nothing_is_lost_or_done_twice_whatever_is_killed_cut_or_paused() -> None:
    """KANWA_CHAOS_SEED replays another run."""
    seed = int(os.environ.get("KANWA_CHAOS_SEED", "20261125"))
    with TemporaryDirectory(prefix="kanwa-chaos-") as folder:
        async with rig(Path(folder), seed, LAYOUT, broker_nodes=1, clocks_shift=False) as running:
            outcome = await run(running, SECONDS, KINDS, PACE)
    assert outcome.sound, report(outcome)
    missing = [kind for kind in KINDS if not any(name.startswith(kind) for name in outcome.faults)]
    assert missing == []
    assert all(outcome.verdict.checks.values()), report(outcome)

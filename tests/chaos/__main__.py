"""`make chaos SECONDS=600 SEED=7`: faults on a whole deployment, and the proof that nothing was lost or done twice."""

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.deployment import Layout
from tests.chaos.faults import Pace
from tests.chaos.report import report
from tests.chaos.rig import Outcome, rig, run
from tests.chaos.schedule import WEIGHTS

BROKER_NODES = 3
#: A pause is longer than two heartbeats of the broker's and than the relay's lease.
PACE = Pace(pause=(16.0, 25.0), away=(5.0, 15.0))


def main() -> int:
    """Run, print, and give the exit code."""
    asked = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="kanwa-chaos-"))
    _say(f"kanwa chaos: seed {asked.seed}, {asked.seconds} s, logs in {folder}")
    outcome = asyncio.run(_run(folder, asked))
    _say(report(outcome))
    if not outcome.sound:
        _say(f"replay with: make chaos SECONDS={asked.seconds} SEED={asked.seed}; the logs are in {folder}")
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0


async def _run(folder: Path, asked: argparse.Namespace) -> Outcome:
    async with rig(
        folder, asked.seed, Layout(), broker_nodes=asked.nodes, clocks_shift="clock jump" in asked.kinds
    ) as running:
        kinds = [kind for kind in asked.kinds if kind != "clock jump" or running.clocks.available]
        return await run(running, asked.seconds, kinds, PACE)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="how long faults and load go on")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--nodes", type=int, default=BROKER_NODES, help="RabbitMQ nodes")
    parser.add_argument(
        "--kinds",
        type=lambda text: text.split(","),
        default=list(WEIGHTS),
        help=f"faults, separated by commas, of: {', '.join(WEIGHTS)}",
    )
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""Fuzz an embedded kanwa of its own: `python -m tests.fuzz --requests 10000 --seed 7`."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.run import Report, fuzz
from tests.support.deployment import embedded_deployment
from tests.support.ports import unused_port

GROWTH_MEGABYTES = 40.0


def shown(report: Report, seconds: float) -> str:
    """The report in words."""
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(report.statuses.items()))
    memory = ", ".join(f"{count}: {megabytes:.0f}" for count, megabytes in report.resident_megabytes[::4])
    return "\n".join(
        [
            f"seed {report.seed}: {report.requests} requests in {seconds:.0f} s",
            f"answers by status: {statuses}",
            f"slowest: {report.slowest[0]:.2f} s, {report.slowest[1]}",
            f"resident memory (requests: MB): {memory}",
            f"growth from the second to the last quarter: {report.growth_megabytes:.1f} MB",
            f"faults: {len(report.faults)}",
            *report.faults[:50],
        ]
    )


def main() -> int:
    """0 if nothing was answered 5xx, nothing hung and memory stayed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    given = parser.parse_args()
    sys.stdout.write(f"seed {given.seed}\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as folder:
        port = unused_port()
        with embedded_deployment(Path(folder), port) as deployment:
            started = time.monotonic()
            report = fuzz(
                f"http://127.0.0.1:{port}/fhir",
                deployment.processes["kanwa"].pid,
                requests=given.requests,
                number=given.seed,
                described_bodies=max(2, given.requests // 250),
            )
            sys.stdout.write(shown(report, time.monotonic() - started) + "\n")
    return 1 if report.faults or report.growth_megabytes > GROWTH_MEGABYTES else 0


if __name__ == "__main__":
    sys.exit(main())

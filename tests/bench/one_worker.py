"""One worker of intake against the floor: the same load, in turns, each over a database of its own."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import uvloop

from kanwa.services import migration_folders
from kanwa_shared.security.keys import generate_keys, mint_token
from tests.bench.http_load import Measured, request_bytes, run_load
from tests.bench.referral import captured_commit, referrals
from tests.support.ports import unused_port
from tests.support.processes import running, wait_until

PATH = "/fhir/ServiceRequest"
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Server:
    """A worker process that listens; `headers` are what a request to it needs."""

    address: str
    process: int
    headers: Callable[[], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs of the floor and of kanwa, in the order in which they took turns."""

    floor: list[Measured]
    kanwa: list[Measured]

    @property
    def ratio(self) -> float:
        """kanwa's rate as a share of the floor's: the median of neighbouring runs, so a slow minute counts twice."""
        return median(ours.rate / bare.rate for ours, bare in zip(self.kanwa, self.floor, strict=True))

    @property
    def cpu_ratio(self) -> float:
        """CPU of kanwa's process for a request, as a multiple of the floor's."""
        return _cpu_of_one(self.kanwa) / _cpu_of_one(self.floor)


def _cpu_of_one(runs: list[Measured]) -> float:
    return sum(run.cpu_seconds or 0.0 for run in runs) / sum(len(run.latencies) for run in runs)


def compare(
    database: Callable[..., str], *, requests: int, seconds: float, concurrency: int, rounds: int
) -> Comparison:
    """Post referrals to the floor and to kanwa in turns, after a round that warms both."""
    folders = migration_folders("intake")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kanwa-bench-")))
        argument = folder / "commit.json"
        argument.write_text(captured_commit(database(*folders)))
        floor = stack.enter_context(_floor(database(*folders), argument))
        kanwa = stack.enter_context(intake_worker(database(*folders), folder))
        runs: dict[str, list[Measured]] = {"floor": [], "kanwa": []}
        for _ in range(rounds + 1):
            for name, server in (("floor", floor), ("kanwa", kanwa)):
                runs[name].append(post_referrals(server, requests, seconds, concurrency))
        return Comparison(runs["floor"][1:], runs["kanwa"][1:])


def post_referrals(server: Server, requests: int, seconds: float, concurrency: int) -> Measured:
    """One run of load, which ends with the requests or the time, whichever is used up first."""
    headers = server.headers()
    prepared = [request_bytes("POST", server.address, PATH, body, headers) for body in referrals(requests)]
    return uvloop.run(
        run_load(
            server.address,
            iter(prepared),
            concurrency=concurrency,
            seconds=seconds,
            process=server.process,
        )
    )


@contextmanager
def _floor(database_url: str, argument: Path) -> Generator[Server]:
    port = unused_port()
    command = [sys.executable, "-m", "tests.bench.floor", database_url, str(port), str(argument)]
    with _started(command, {}, port) as process:
        yield Server(f"http://127.0.0.1:{port}", process, dict)


@contextmanager
def intake_worker(database_url: str, folder: Path) -> Generator[Server]:
    """As in production: tokens are checked and every request is logged."""
    port, keys = unused_port(), folder / "keys"
    environment = {
        "KANWA_DATABASE_URL": database_url,
        "KANWA_PORT": str(port),
        "KANWA_BASE_URL": f"http://127.0.0.1:{port}/fhir",
        "KANWA_AUTH_MODE": "jwt",
        "KANWA_AUTH_JWKS_FILE": str(generate_keys(keys)),
    }
    command = [sys.executable, "-m", "kanwa", "serve", "intake", "api"]
    with _started(command, environment, port, folder / "intake.log") as process:
        yield Server(f"http://127.0.0.1:{port}", process, lambda: {"authorization": f"Bearer {_token(keys)}"})


def _token(keys: Path) -> str:
    return mint_token(
        keys,
        "bench",
        "system/*.cruds",
        issuer="https://kanwa.example/auth",
        audience="https://kanwa.example/fhir",
        now=datetime.now(UTC),
        life=timedelta(minutes=5),
    )


@contextmanager
def _started(
    command: list[str], environment: dict[str, str], port: int, log: Path | None = None
) -> Generator[int]:
    with ExitStack() as stack:
        output: Any = stack.enter_context(log.open("wb")) if log is not None else None
        process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=output)
        stack.enter_context(running(process))
        wait_until(
            lambda: _answers(port, process), what=" ".join(command[2:4]), deadline_seconds=START_SECONDS
        )
        yield process.pid


def _answers(port: int, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "the process ended before it answered"
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False

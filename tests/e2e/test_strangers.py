"""Clients that nobody here wrote, and requests that nobody would send, against one embedded kanwa."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.__main__ import PYTHON
from tests.fuzz.run import fuzz
from tests.support.deployment import Deployment, embedded_deployment

#: Another seed with each change of the requests; `make fuzz` draws its own.
SEED = 4_711
REQUESTS = 500


@pytest.fixture(scope="module")
def deployment(
    tmp_path_factory: pytest.TempPathFactory, module_free_port: Callable[[], int]
) -> Iterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("strangers")
    with embedded_deployment(folder, module_free_port()) as running:
        yield running


@pytest.mark.parametrize("client", PYTHON)
def test_a_client_of_pypi_runs_all_its_flows(deployment: Deployment, client: str) -> None:
    command = [sys.executable, "-m", f"tests.clients.{client}", deployment.addresses["intake"] + "/fhir"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("\n") >= 6, "one line for each flow"


def test_strange_requests_get_no_server_error_and_leave_no_memory_behind(deployment: Deployment) -> None:
    report = fuzz(
        deployment.addresses["intake"] + "/fhir",
        deployment.processes["kanwa"].pid,
        requests=REQUESTS,
        number=SEED,
        described_bodies=1,
    )
    assert report.faults == []
    assert report.requests >= REQUESTS * 0.9
    assert report.growth_megabytes < 40, report.resident_megabytes

"""Processes that tests start and that end with them."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOP_SECONDS = 20.0


def wait_until(condition: Callable[[], bool], *, what: str, deadline_seconds: float = 60.0) -> None:
    """Wait for a server that is starting; for tests' own conditions see `tests.support.waiting`."""
    end = time.monotonic() + deadline_seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not answer within {deadline_seconds} s")
        time.sleep(0.05)


@contextmanager
def running(process: subprocess.Popen[Any]) -> Iterator[None]:
    """Stop the process at the end, by its own process id."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)

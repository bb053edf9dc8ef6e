"""What the log says, as an operator gets it: redacted JSON lines."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import structlog

from kanwa_shared.logging import configure_logging


@contextmanager
def logged() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Capture what is logged in the block; the yielded function gives the entries so far."""
    stream = StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging("json", "debug", stream)
    try:
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()

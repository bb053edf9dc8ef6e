"""Waiting for a condition instead of for a time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

T = TypeVar("T")


async def next_millisecond() -> str:
    """An instant, as FHIR writes it, after every `meta.lastUpdated` so far: those are cut to milliseconds."""
    now = datetime.now(UTC)
    instant = now.replace(microsecond=now.microsecond // 1000 * 1000) + timedelta(milliseconds=1)
    await until(lambda: datetime.now(UTC) >= instant, interval_seconds=0.001)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def until(
    condition: Callable[[], T | Awaitable[T]],
    *,
    deadline_seconds: float = 10.0,
    interval_seconds: float = 0.02,
    what: str = "the condition",
) -> T:
    """Call `condition` (sync or async) until what it gives is true, and give that.

    An AssertionError inside `condition` counts as "not yet". At the deadline the test fails with the last
    value or the last AssertionError.
    """
    end = time.monotonic() + deadline_seconds
    while True:
        reason: AssertionError | None = None
        value: object = None
        try:
            given = condition()
            value = await given if inspect.isawaitable(given) else given
        except AssertionError as not_yet:
            reason = not_yet
        if value:
            return value  # type: ignore[return-value]  # the condition's own type, narrowed by being true
        if time.monotonic() >= end:
            last = f"last failure: {reason}" if reason else f"last value: {value!r}"
            raise AssertionError(f"{what} did not come true within {deadline_seconds} s; {last}") from reason
        await asyncio.sleep(interval_seconds)

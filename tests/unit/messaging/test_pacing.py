import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanwa_shared.messaging.broker import Backoff
from kanwa_shared.messaging.deliveries import DeliverySettings
from kanwa_shared.messaging.lanes import Lanes


def a_step(log: list[str], name: str) -> Callable[[], Awaitable[None]]:
    async def step() -> None:
        log.append(f"{name} begins")
        await asyncio.sleep(0)
        log.append(f"{name} ends")

    return step


async def test_work_of_one_lane_runs_in_order_and_never_at_once() -> None:
    lanes, log = Lanes(8), list[str]()
    for number in range(5):
        lanes.put("a", a_step(log, str(number)))
    await asyncio.sleep(0.05)
    assert log == [entry for number in range(5) for entry in (f"{number} begins", f"{number} ends")]
    await lanes.close(1)


async def test_lanes_run_beside_each_other_up_to_the_limit() -> None:
    lanes, running, most, gate = Lanes(2), 0, 0, asyncio.Event()

    async def step() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1

    for lane in "abcd":
        lanes.put(lane, step)
    await asyncio.sleep(0.01)
    assert running == 2
    gate.set()
    await asyncio.sleep(0.01)
    assert (running, most) == (0, 2)
    await lanes.close(1)


async def test_closing_lets_running_work_end_and_drops_what_has_not_begun() -> None:
    lanes, log, gate = Lanes(1), list[str](), asyncio.Event()

    async def step() -> None:
        log.append("begins")
        await gate.wait()
        log.append("ends")

    lanes.put("a", step)
    lanes.put("a", step)
    lanes.put("b", step)
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(lanes.close(5))
    await asyncio.sleep(0.01)
    gate.set()
    await closing
    lanes.put("c", step)
    await asyncio.sleep(0.01)
    assert log == ["begins", "ends"]


async def test_closing_cancels_work_that_takes_too_long() -> None:
    lanes = Lanes(1)

    async def step() -> None:
        await asyncio.Event().wait()

    lanes.put("a", step)
    await asyncio.sleep(0.01)
    async with asyncio.timeout(2):
        await lanes.close(0.01)


async def test_work_that_raises_is_told_to_the_owner_and_stops_its_lane() -> None:
    lanes, log = Lanes(1), list[str]()

    async def step() -> None:
        raise RuntimeError("a defect")

    lanes.put("a", step)
    lanes.put("a", a_step(log, "next"))
    with pytest.raises(RuntimeError, match="a defect"):
        await asyncio.wait_for(asyncio.shield(lanes.failed), 1)
    assert log == []
    await lanes.close(1)


@given(st.floats(0.01, 1.0), st.floats(1.0, 100.0), st.integers(1, 40))
def test_pauses_grow_up_to_the_cap_and_are_never_nothing(base: float, cap: float, failures: int) -> None:
    backoff = Backoff(base, cap)
    pauses = [backoff.next() for _ in range(failures)]
    assert all(base / 4 <= pause <= cap for pause in pauses)
    assert pauses[0] <= base
    backoff.reset()
    assert backoff.next() <= base


def test_pauses_differ_so_that_clients_do_not_come_back_together() -> None:
    backoffs = [Backoff(1.0, 60.0) for _ in range(20)]
    assert len({backoff.next() for backoff in backoffs}) > 10


def test_each_failure_has_its_delay_and_the_last_one_goes_on() -> None:
    settings = DeliverySettings(delays_seconds=(1.0, 5.0, 30.0))
    assert [settings.delay_after(failures) for failures in (0, 1, 2, 3, 4, 9)] == [
        1.0,
        1.0,
        5.0,
        30.0,
        30.0,
        30.0,
    ]

"""The plan of faults: the same for a seed, and with every kind in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.schedule import OF_PROCESSES, WEIGHTS, Fault, schedule

PROCESSES = [
    f"{service}-{role}"
    for service in ("intake", "scheduling", "outcomes", "mdt")
    for role in ("api", "worker")
]
KINDS = list(WEIGHTS)


def plan(seed: int, seconds: float = 600.0) -> list[Fault]:
    return schedule(seed, seconds, KINDS, [*PROCESSES, "gateway"])


def test_ten_minutes_hold_more_than_two_hundred_faults() -> None:
    assert len(plan(7)) > 200


def test_a_seed_gives_its_plan_again_and_another_seed_another_one() -> None:
    assert plan(7) == plan(7)
    assert plan(7) != plan(8)


@given(st.integers(min_value=0), st.floats(min_value=20, max_value=3600))
def test_every_kind_is_planned_every_process_is_killed_and_all_within_the_time(
    seed: int, seconds: float
) -> None:
    planned = plan(seed, seconds)
    assert {fault.kind for fault in planned} == set(KINDS)
    assert {fault.target for fault in planned if fault.kind == "kill"} == {*PROCESSES, "gateway"}
    assert [fault.at for fault in planned] == sorted(fault.at for fault in planned)
    assert all(0 <= fault.at <= seconds and 0 <= fault.draw < 1 for fault in planned)


@pytest.mark.parametrize("kind", sorted(OF_PROCESSES))
def test_a_fault_of_a_process_names_one(kind: str) -> None:
    assert {fault.target for fault in plan(7) if fault.kind == kind} <= {*PROCESSES, "gateway"}

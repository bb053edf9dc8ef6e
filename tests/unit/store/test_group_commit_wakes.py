"""Commits that gather: none is left behind, however the calls and the ends of transactions meet. No database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from typing import Any, cast

import pytest

from kanwa_shared.store.group_commit import IN_FLIGHT, GroupCommit
from kanwa_shared.store.pool import Pool


class Connections:
    """A pool whose connections take so many turns of the event loop for a statement, and for going back."""

    closed = False

    def __init__(self, turns: int, turns_back: int) -> None:
        self._turns, self._turns_back = turns, turns_back

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["Connections"]:
        yield self
        await turn(self._turns_back)

    async def execute(self, *_: Any) -> None:
        await turn(self._turns)


async def turn(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("turns", "turns_back"), list(product(range(3), range(3))))
async def test_a_commit_that_comes_as_the_last_ones_end_is_not_left_behind(
    turns: int, turns_back: int
) -> None:
    for after in range(20):
        group = GroupCommit(cast(Pool, Connections(turns, turns_back)))

        async def call(at: int, group: GroupCommit = group) -> None:
            await turn(at)
            await group.commit("{}")

        async with asyncio.timeout(5):
            await asyncio.gather(*(call(at) for at in (*[0] * IN_FLIGHT, after)))

"""The example consumer of the documentation runs, with no more rights than it needs."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from kanwa.broker_accounts import subscriber_account
from kanwa_shared.messaging.amqp import Connection
from kanwa_shared.messaging.broker import AccessRefused
from kanwa_shared.messaging.publisher import Publisher
from kanwa_shared.messaging.relay import Relay
from kanwa_shared.messaging.topology import Topology
from tests.support.messaging import WritingService
from tests.support.waiting import until

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "follow_referrals.py"
SECRET = "Jane Doe"
TOPOLOGY = Topology(())


@pytest.fixture
def dashboard(
    amqp_url: str, broker_account: Callable[..., AbstractContextManager[str]]
) -> AbstractContextManager[str]:
    user = f"kanwa_dashboard_{uuid4().hex[:8]}"
    return broker_account(amqp_url, subscriber_account(user, "made-up", (TOPOLOGY.notifications,)))


@asynccontextmanager
async def relayed(intake: WritingService, amqp_url: str) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with Publisher(amqp_url, name="relay", prepare=TOPOLOGY.declare) as publisher:
        await asyncio.wait_for(publisher.wait_ready(), 20)
        task = asyncio.create_task(Relay(intake.url, publisher, TOPOLOGY, "intake").run(stop))
        yield
        stop.set()
        await task


@asynccontextmanager
async def example(url: str, output: Path) -> AsyncIterator[Callable[[], str]]:
    """The example in a process of its own; what it has printed so far."""
    with output.open("ab") as file:
        process = await asyncio.create_subprocess_exec(sys.executable, EXAMPLE, url, stdout=file)
    try:
        yield output.read_text
    finally:
        process.kill()
        await process.wait()


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 40


async def test_it_follows_what_happens_and_misses_nothing_while_it_is_away(
    database: Callable[..., str], amqp_url: str, dashboard: AbstractContextManager[str], tmp_path: Path
) -> None:
    body = f'{{"resourceType": "Task", "description": "{SECRET}"}}'
    output = tmp_path / "output"
    async with WritingService("intake", database()) as intake, relayed(intake, amqp_url):
        with dashboard as url:
            async with example(url, output) as printed:
                # Until its queue is bound, events go past it.
                async def follows() -> bool:
                    await intake.write(uuid4().hex, 1, body=body)
                    return "intake.Task.create" in printed()

                await until(follows, deadline_seconds=30, interval_seconds=0.3)
            await intake.write("away", 1, body=body)
            await intake.write("goal", 1, resource_type="Goal")
            await until(lambda: _all_published(intake))
            async with example(url, output) as printed:
                await until(lambda: "Task/away" in printed(), deadline_seconds=30)
    assert "Goal" not in output.read_text()
    assert SECRET not in output.read_text()


async def _all_published(intake: WritingService) -> bool:
    return await intake.unpublished() == 0


async def test_its_account_reads_no_resource_and_publishes_nothing(
    amqp_url: str, dashboard: AbstractContextManager[str]
) -> None:
    administrator = await Connection.open(amqp_url, name="test")
    await TOPOLOGY.declare(await administrator.channel())
    with dashboard as url:
        own = f"{url.partition('//')[2].partition(':')[0]}.mine"
        connection = await Connection.open(url, name="test")
        channel = await connection.channel()
        await channel.declare_queue(own)
        await channel.bind(own, TOPOLOGY.notifications, "#")
        with pytest.raises(AccessRefused):
            await channel.bind(own, TOPOLOGY.events, "#")
        with pytest.raises(AccessRefused):
            await (await connection.channel()).declare_queue("kanwa.mdt")
        with pytest.raises(AccessRefused):
            await (await connection.channel()).declare_exchange("mine", "topic")
        await connection.close()
    await administrator.close()

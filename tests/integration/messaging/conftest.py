from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from tests.support.messaging import Ledger, Loop, OverRabbit, WritingService


@pytest.fixture
async def loop(database: Callable[..., str], amqp_url: str) -> AsyncIterator[Loop]:
    """A loop that runs."""
    async with AsyncExitStack() as stack:
        url = database()
        intake = await stack.enter_async_context(WritingService("intake", url))
        mdt = await stack.enter_async_context(Ledger("mdt", url))
        rabbit = OverRabbit(amqp_url, [intake], [mdt])
        await rabbit.start()
        yield Loop(amqp_url, intake, mdt, rabbit)
        await rabbit.stop()

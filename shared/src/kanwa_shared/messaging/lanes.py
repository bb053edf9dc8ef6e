"""Work in lanes: one after the other within a lane, lanes beside each other."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

Work = Callable[[], Awaitable[None]]


class Lanes:
    """Runs at most `concurrency` pieces of work at once; those of one lane in the order in which they came.

    `failed` is done with the exception of the first work that raised: the owner must give up then, since the
    lane's order would be broken by going on.
    """

    def __init__(self, concurrency: int) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._slots = asyncio.Semaphore(concurrency)
        self._waiting: dict[str, deque[Work]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def put(self, lane: str, work: Work) -> None:
        """Add work at the end of `lane`; after `close` it is dropped."""
        if self._closed:
            return
        queue = self._waiting.get(lane)
        if queue is not None:
            queue.append(work)
            return
        self._waiting[lane] = deque([work])
        task = asyncio.create_task(self._run(lane))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def close(self, grace_seconds: float) -> None:
        """Drop what has not begun, let the rest finish, cancel what is late after `grace_seconds`."""
        self._closed = True
        for queue in self._waiting.values():
            queue.clear()
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=grace_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self.failed.cancel()

    async def _run(self, lane: str) -> None:
        queue = self._waiting[lane]
        try:
            while queue:
                async with self._slots:
                    # Closed while this one waited for a slot: it has not begun.
                    if queue:
                        await queue[0]()
                if queue:
                    queue.popleft()
        finally:
            del self._waiting[lane]

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.failed.done():
            self.failed.set_exception(error)

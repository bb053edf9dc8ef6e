"""How each kind of fault is brought about on a running rig."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError

from kanwa.services import topology
from tests.chaos.clocks import Clocks
from tests.chaos.probe import Probe, Recorded, channel_to, seen
from tests.chaos.processes import Supervisor
from tests.chaos.schedule import Fault
from tests.chaos.servers import Servers
from tests.chaos.subscriber import Subscriber
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import until

T = TypeVar("T")
DOWN_SECONDS = (0.0, 3.0)
DELAY_SECONDS = (0.02, 0.25)
DELAYED_FOR_SECONDS = 4.0
NODE_DOWN_SECONDS = (3.0, 10.0)
JUMPS_SECONDS = (-7200, -600, -5, 5, 600, 7200)
JUMPED_FOR_SECONDS = 10.0
DUPLICATES = 25
DETOUR = "chaos.detour"
DETOUR_SECONDS = 2.0
#: How long a fault waits for what it is done to: a process that is up, messages to bring out of order.
MOMENT_SECONDS = 30.0
TRIES = 60


@dataclass(frozen=True, slots=True)
class Pace:
    """Bounds for how long a process is paused and how long the broker is away, in seconds."""

    pause: tuple[float, float]
    away: tuple[float, float]


@dataclass(slots=True)
class Faults:
    """Brings faults about; `done` counts them by kind and target. One at a time for each target."""

    servers: Servers
    proxies: dict[str, TcpProxy]
    supervisor: Supervisor
    probe: Probe
    subscriber: Subscriber
    clocks: Clocks
    broker_urls: list[str]
    pace: Pace
    done: Counter[str] = field(default_factory=Counter[str])
    failed: list[str] = field(default_factory=list[str])
    reordered: set[str] = field(default_factory=set[str])
    _locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def run(self, plan: list[Fault]) -> None:
        """Bring about each at its time; returns when the last one is over."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for fault in plan:
                await asyncio.sleep(max(0.0, began + fault.at - time.monotonic()))
                tasks.create_task(self._bring_about(fault))

    async def _bring_about(self, fault: Fault) -> None:
        act, resource = self._act(fault)
        async with self._locks[resource]:
            try:
                happened = await act(fault)
            except (AMQPError, OSError, AssertionError) as error:
                self.failed.append(f"{fault.name}: {error!r}")
                return
        if happened:
            self.done[fault.name] += 1

    def _act(self, fault: Fault) -> tuple[Callable[[Fault], Awaitable[bool]], str]:
        """What to do, and what no other fault may touch meanwhile."""
        acts: dict[str, tuple[Callable[[Fault], Awaitable[bool]], str]] = {
            "kill": (self._kill, fault.target),
            "pause": (self._pause, fault.target),
            "clock jump": (self._jump, f"clock of {fault.target}"),
            "cut": (self._cut, f"wire {fault.target}"),
            "delay": (self._delay, f"wire {fault.target}"),
            "duplicates": (self._duplicate, "deliveries"),
            "reordered": (self._reorder, "broker"),
            "subscriber away": (self._leave, "subscriber"),
            "broker away": (self._broker_away, "broker"),
            "broker restart": (self._broker_restart, "broker"),
            "broker node loss": (self._node_loss, "broker"),
            "database crash": (partial(self._in_thread, self.servers.database.crash), "database"),
            "database restart": (partial(self._in_thread, self.servers.database.restart), "database"),
            "redis crash": (partial(self._in_thread, self.servers.redis.crash), "redis"),
        }
        return acts[fault.kind]

    async def _kill(self, fault: Fault) -> bool:
        down_seconds = _between(DOWN_SECONDS, fault.draw)
        return await _when_possible(lambda: self.supervisor.kill(fault.target, down_seconds=down_seconds))

    async def _pause(self, fault: Fault) -> bool:
        await _when_possible(lambda: self.supervisor.pause(fault.target, True))
        await asyncio.sleep(_between(self.pace.pause, fault.draw))
        self.supervisor.pause(fault.target, False)
        return True

    async def _jump(self, fault: Fault) -> bool:
        self.clocks.shift(fault.target, JUMPS_SECONDS[int(fault.draw * len(JUMPS_SECONDS))])
        await asyncio.sleep(JUMPED_FOR_SECONDS)
        self.clocks.shift(fault.target, 0)
        return True

    async def _cut(self, fault: Fault) -> bool:
        self.proxies[fault.target].cut()
        return True

    async def _delay(self, fault: Fault) -> bool:
        proxy = self.proxies[fault.target]
        proxy.slow_down(_between(DELAY_SECONDS, fault.draw))
        await asyncio.sleep(DELAYED_FOR_SECONDS)
        proxy.slow_down(0.0)
        return True

    async def _leave(self, _: Fault) -> bool:
        self.subscriber.leave()
        return True

    async def _broker_away(self, fault: Fault) -> bool:
        """The outbox fills while writes go on."""
        proxy = self.proxies["broker"]
        proxy.refuse(True)
        proxy.cut()
        await asyncio.sleep(_between(self.pace.away, fault.draw))
        proxy.refuse(False)
        return True

    async def _broker_restart(self, _: Fault) -> bool:
        return await self._in_thread(self.servers.brokers.crash)

    async def _node_loss(self, fault: Fault) -> bool:
        brokers = self.servers.brokers
        number = int(fault.draw * len(brokers.nodes))
        await asyncio.to_thread(brokers.nodes[number].kill)
        await asyncio.sleep(_between(NODE_DOWN_SECONDS, fault.draw * len(brokers.nodes) % 1))
        await asyncio.to_thread(brokers.start_node, number)
        return True

    async def _duplicate(self, fault: Fault) -> bool:
        """Messages that were delivered before come again, some from long ago, in any order."""
        dice = random.Random(fault.draw)
        binding = next(b for b in topology().bindings if b.consumer == fault.target)

        def messages() -> list[Recorded]:
            events = [message for message in list(self.probe.events) if binding.wants(message.routing_key)]
            hand_overs = [m for m in list(self.probe.hand_overs) if m.routing_key == fault.target]
            return events + hand_overs

        for_it = await _when_possible(messages)
        recent = for_it[-DUPLICATES:]
        again = recent + dice.sample(for_it, min(DUPLICATES, len(for_it)))
        dice.shuffle(again)
        return await asyncio.to_thread(self._send, fault.target, again)

    async def _reorder(self, fault: Fault) -> bool:
        """For a while the consumer's events take a detour, from which they come shuffled and in part twice.

        The detour is bound before the queue is unbound, and the other way round at the end: nothing is missed.
        """
        exchange, queue = topology().events, topology().queue(fault.target)
        patterns = next(b.patterns for b in topology().bindings if b.consumer == fault.target)
        await self._bind(True, DETOUR, exchange, patterns)
        await self._bind(False, queue, exchange, patterns)
        try:
            await asyncio.sleep(DETOUR_SECONDS)
            # One message alone has no order, and on a slow machine two may take longer.
            await _when_possible(lambda: asyncio.to_thread(self._taking_the_detour, 2))
        finally:
            await self._bind(True, queue, exchange, patterns)
            await self._bind(False, DETOUR, exchange, patterns)
            shuffled = await asyncio.to_thread(self._shuffle_back, fault)
        return shuffled

    async def _bind(self, bound: bool, queue: str, exchange: str, patterns: tuple[str, ...]) -> None:
        def work() -> None:
            with channel_to(self.broker_urls) as channel:
                channel.queue_declare(DETOUR, durable=True, arguments={"x-queue-type": "quorum"})
                for pattern in patterns:
                    change = channel.queue_bind if bound else channel.queue_unbind
                    change(queue, exchange, pattern)

        await asyncio.to_thread(_surely, work)

    def _taking_the_detour(self, number: int) -> bool:
        with channel_to(self.broker_urls) as channel:
            return channel.queue_declare(DETOUR, passive=True).method.message_count >= number

    def _shuffle_back(self, fault: Fault) -> bool:
        taken: dict[bytes, Recorded] = {}

        def drain() -> None:
            """Taken, sent on, and only then acknowledged; an empty queue is looked at again."""
            with channel_to(self.broker_urls) as channel:
                for _ in range(3):
                    time.sleep(0.1)
                    last = None
                    while (got := channel.basic_get(DETOUR))[0] is not None:
                        method, properties, body = got
                        taken.setdefault(body, Recorded(method.routing_key, properties, body))
                        last = method.delivery_tag
                    if last is not None:
                        again = list(taken.values())
                        random.Random(fault.draw).shuffle(again)
                        self._publish(channel, fault.target, again)
                        channel.basic_ack(last, multiple=True)

        _surely(drain)
        if fault.target == "mdt":
            self.reordered.update(seen(message.body).resource for message in taken.values())
        return len(taken) > 1

    def _send(self, consumer: str, messages: list[Recorded]) -> bool:
        def work() -> None:
            with channel_to(self.broker_urls) as channel:
                self._publish(channel, consumer, messages)

        _surely(work)
        return True

    @staticmethod
    def _publish(channel: BlockingChannel, consumer: str, messages: list[Recorded]) -> None:
        for message in messages:
            channel.basic_publish("", topology().queue(consumer), message.body, message.properties)

    @staticmethod
    async def _in_thread(act: Callable[[], None], _: Fault | None = None) -> bool:
        await asyncio.to_thread(act)
        return True


def _between(bounds: tuple[float, float], draw: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * draw


async def _when_possible(act: Callable[[], T | Awaitable[T]]) -> T:
    return await until(
        act, deadline_seconds=MOMENT_SECONDS, interval_seconds=0.1, what="the moment for a fault"
    )


def _surely(work: Callable[[], None]) -> None:
    """Do it again while the broker is in trouble: what the rig takes out of a queue it must put back."""
    for attempt in range(TRIES):
        try:
            return work()
        except (AMQPError, OSError):
            if attempt == TRIES - 1:
                raise
            time.sleep(0.5)

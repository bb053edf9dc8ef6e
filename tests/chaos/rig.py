"""One run: start everything, load and faults side by side, let it settle, collect the evidence, judge."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence, Set
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
from pika.exceptions import AMQPError
from psycopg import Error as DatabaseError

from kanwa.seed.plant import plant
from kanwa.services import topology
from tests.chaos.boards import read_model, rebuilt_read_model
from tests.chaos.checker import check
from tests.chaos.clocks import Clocks
from tests.chaos.collect import read_histories
from tests.chaos.deployment import STEADY, Deployment, Layout, deployment
from tests.chaos.evidence import Evidence, Verdict
from tests.chaos.faults import Faults, Pace
from tests.chaos.ledger import Ledger
from tests.chaos.load import Load
from tests.chaos.probe import Probe, channel_to
from tests.chaos.schedule import schedule
from tests.chaos.servers import Servers, servers
from tests.chaos.subscriber import Subscriber, whole_stream
from tests.support.waiting import until

ANSWER_SECONDS = 30.0
QUIET_SECONDS = 1.5
#: The longest delay of a delivery that failed, and what comes on top.
SETTLE_SECONDS = 200.0


@dataclass(slots=True)
class Rig:
    """A running rig."""

    seed: int
    deployment: Deployment
    servers: Servers
    clocks: Clocks
    probe: Probe
    subscriber: Subscriber
    ledger: Ledger
    client: httpx.AsyncClient
    start_seconds: float

    def faults(self, pace: Pace) -> Faults:
        """What brings faults about on it."""
        return Faults(
            self.servers,
            dict(self.deployment.proxies),
            self.deployment.supervisor,
            self.probe,
            self.subscriber,
            self.clocks,
            self.deployment.broker_urls,
            pace,
        )


@dataclass(slots=True)
class Outcome:
    """What a run did and what was found."""

    seed: int
    faults: Counter[str]
    failed_faults: list[str]
    load: Counter[str]
    gave_up: list[str]
    acknowledged: int
    unanswered: int
    events: int
    deliveries: int
    own_ends: Counter[str]
    verdict: Verdict
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong, every check looked at something, and the rig did what it meant to do."""
        blind = not all(self.verdict.checks.values())
        return not (self.verdict.violations or blind or self.failed_faults or self.gave_up)


@asynccontextmanager
async def rig(
    folder: Path, seed: int, layout: Layout, *, broker_nodes: int, clocks_shift: bool
) -> AsyncIterator[Rig]:
    """Everything started and seeded; probe and subscriber listen from the first event on."""
    began, clocks = time.monotonic(), Clocks(folder, wanted=clocks_shift)
    with servers(folder / "servers", broker_nodes=broker_nodes) as own:
        urls = [node.url for node in own.brokers.nodes]
        probe = Probe(urls)
        async with deployment(folder, own, layout, clocks, before_start=lambda: probe.start(OWNERS)) as made:
            subscriber, ledger = Subscriber(made.gateway), Ledger()
            following = asyncio.create_task(subscriber.run())
            client = httpx.AsyncClient(
                transport=ledger, base_url=f"{made.gateway}/fhir/", timeout=ANSWER_SECONDS
            )
            try:
                async with client:
                    if "scheduling" in layout.services:
                        await plant(client, datetime.now(UTC).date(), ZoneInfo("UTC"))
                    started = time.monotonic() - began
                    yield Rig(seed, made, own, clocks, probe, subscriber, ledger, client, started)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                await asyncio.to_thread(probe.stop)


OWNERS = ["intake", "scheduling", "outcomes"]


async def run(running: Rig, seconds: float, kinds: Sequence[str], pace: Pace) -> Outcome:
    """Load and faults for `seconds` and until the last fault is over, then judge."""
    began = time.monotonic()
    faults, load = running.faults(pace), Load(running.client, running.seed)
    plan = schedule(running.seed, seconds, kinds, running.deployment.targets)
    enough = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(load.run(enough))
        await asyncio.gather(faults.run(plan), asyncio.sleep(seconds))
        enough.set()
    ended = time.monotonic()
    verdict, evidence = await settled(running, closed=load.closed, reordered=faults.reordered)
    return Outcome(
        running.seed,
        faults.done,
        faults.failed,
        load.done,
        load.gave_up,
        len(evidence.acknowledged),
        running.ledger.unanswered,
        len(evidence.stream),
        len(evidence.probe),
        running.deployment.supervisor.own_ends,
        verdict,
        {
            "starting": running.start_seconds,
            "load and faults": ended - began,
            "settling and checks": time.monotonic() - ended,
        },
    )


async def settled(
    running: Rig,
    *,
    closed: Set[str] = frozenset(),
    reordered: Set[str] = frozenset(),
    patience_seconds: float = SETTLE_SECONDS,
) -> tuple[Verdict, Evidence]:
    """Judge when all is quiet; what is only late is judged again, until everything had its time.

    Pieces of evidence that were collected while something still moved contradict each other, so they are
    collected again whatever they show.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        await until(
            running.deployment.all_answer, deadline_seconds=90, interval_seconds=0.2, what="every process"
        )
        await _quiet(running, deadline)
        before = _received(running)
        evidence = await _evidence(running, closed, reordered)
        moved = _received(running) != before
        verdict = check(evidence)
        late = {violation.kind for violation in verdict.violations} <= {"lost", "read model"}
        if time.monotonic() > deadline or not (moved or (verdict.violations and late)):
            return verdict, evidence
        await asyncio.sleep(QUIET_SECONDS)


async def _quiet(running: Rig, deadline: float) -> None:
    """Return when no queue of kanwa's holds anything and nobody received anything for a while."""
    before: tuple[int, int] | None = None
    while time.monotonic() < deadline:
        with suppress(AMQPError, OSError):
            waiting = await asyncio.to_thread(_waiting, running.deployment.broker_urls)
            now = _received(running)
            if now == before and waiting == 0:
                return
            before = now
        await asyncio.sleep(QUIET_SECONDS)


def _received(running: Rig) -> tuple[int, int]:
    """How much the two that listen all the time have had: whether anything moves."""
    return len(running.probe.events), len(running.subscriber.had)


def _waiting(urls: list[str]) -> int:
    """Messages that are ready in the queues that kanwa works on or waits with."""
    broker = topology()
    queues = [q for b in broker.bindings for q in broker.queues(b.consumer) if not q.endswith(".dead")]
    with channel_to(urls) as channel:
        return sum(channel.queue_declare(queue, passive=True).method.message_count for queue in queues)


async def _evidence(running: Rig, closed: Set[str], reordered: Set[str]) -> Evidence:
    stream = await whole_stream(running.deployment.board)
    probed = running.probe.seen()
    made = running.deployment
    # Without all services nobody can say what the server has.
    told = {event.resource.partition("/")[0] for event in [*stream, *probed]}
    types = None if set(OWNERS) <= set(made.databases) else sorted(told)
    boards: dict[str, dict[str, str]] = {}
    with suppress(DatabaseError):
        boards["the board"] = await read_model(made.databases["mdt"])
        if STEADY in made.databases:
            boards["a board that never left"] = await read_model(made.databases[STEADY])
        boards["the board rebuilt from its log"] = await rebuilt_read_model(made.databases["mdt"])
    return Evidence(
        histories=await read_histories(running.client, types),
        stream=stream,
        probe=probed,
        acknowledged=list(running.ledger.acknowledged),
        followed=list(running.subscriber.had),
        uncertain=frozenset(running.ledger.uncertain),
        closed=frozenset(closed),
        reordered=frozenset(reordered),
        boards=boards,
        given_up=await asyncio.to_thread(_dead_letters, made.broker_urls),
    )


def _dead_letters(urls: list[str]) -> list[str]:
    """What kanwa's consumers gave up, by queue."""
    broker, found = topology(), list[str]()
    with channel_to(urls) as channel:
        for binding in broker.bindings:
            queue = broker.dead_queue(binding.consumer)
            while (got := channel.basic_get(queue))[0] is not None:
                found.append(f"{queue}: {dict(got[1].headers or {})} {(got[2] or b'')[:200]!r}")
    return found

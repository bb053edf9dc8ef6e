import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanwa_shared.messaging.broker import HeaderValue
from kanwa_shared.messaging.topology import LOOKS_LIMIT, Binding, Topology, matches

BINDINGS = [Binding("mdt", ("#",)), Binding("scheduling", ("intake.Task.*", "intake.Patient.*"), True)]


class Recorder:
    """Notes what a topology declares."""

    def __init__(self) -> None:
        self.exchanges: dict[str, tuple[str, bool]] = {}
        self.queues: dict[str, dict[str, HeaderValue] | None] = {}
        self.passive: set[str] = set()
        self.bindings: set[tuple[str, str, str]] = set()

    async def declare_exchange(self, name: str, kind: str, *, passive: bool = False) -> None:
        self.exchanges[name] = (kind, passive)

    async def declare_queue(
        self, name: str, arguments: dict[str, HeaderValue] | None = None, *, passive: bool = False
    ) -> int:
        self.queues[name] = arguments
        if passive:
            self.passive.add(name)
        return 0

    async def bind(self, queue: str, exchange: str, routing_key: str) -> None:
        self.bindings.add((queue, exchange, routing_key))


words = st.sampled_from(["intake", "Task", "create"])
keys = st.lists(words, min_size=1, max_size=5).map(".".join)
patterns = st.lists(words | st.sampled_from(["*", "#"]), min_size=1, max_size=5).map(".".join)


def as_regex(pattern: str) -> re.Pattern[str]:
    """The same pattern by another route: each word followed by a dot, `#` any number of them."""
    parts = {"*": r"[^.]+\.", "#": r"(?:[^.]+\.)*"}
    return re.compile("".join(parts.get(word, re.escape(word) + r"\.") for word in pattern.split(".")))


@given(patterns, keys)
def test_topic_patterns_match_as_amqp_defines_them(pattern: str, key: str) -> None:
    assert matches(pattern, key) == bool(as_regex(pattern).fullmatch(key + "."))


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("#", "intake.Task.create", True),
        ("intake.#", "intake", True),
        ("intake.*", "intake", False),
        ("intake.*.create", "intake.Task.create", True),
        ("*.*", "intake.Task.create", False),
        ("#.create", "intake.Task.create", True),
        ("intake.Task", "intake.Task.create", False),
    ],
)
def test_a_topic_pattern(pattern: str, key: str, expected: bool) -> None:
    assert matches(pattern, key) is expected


def test_an_event_is_expected_if_some_consumer_is_bound_to_it() -> None:
    topology = Topology([BINDINGS[1]])
    assert topology.expects("intake.Task.create")
    assert not topology.expects("intake.Goal.create")


async def test_every_queue_is_a_durable_quorum_queue_that_gives_up_into_a_queue() -> None:
    recorder, topology = Recorder(), Topology(BINDINGS, delays_seconds=(1.0, 30.0))
    await topology.declare(recorder)
    assert {arguments and arguments["x-queue-type"] for arguments in recorder.queues.values()} == {"quorum"}
    main = recorder.queues["kanwa.mdt"]
    assert main is not None
    dead_lettered_to = (main["x-dead-letter-exchange"], main["x-dead-letter-routing-key"])
    assert ("kanwa.mdt.dead", *dead_lettered_to) in recorder.bindings
    retry = recorder.queues["kanwa.mdt.retry.30000"]
    assert retry is not None
    assert retry["x-message-ttl"] == 30_000
    comes_back_to = (retry["x-dead-letter-exchange"], retry["x-dead-letter-routing-key"])
    assert ("kanwa.mdt", *comes_back_to) in recorder.bindings


async def test_looks_at_dead_letters_do_not_use_up_what_rabbitmq_4_allows() -> None:
    recorder = Recorder()
    await Topology(BINDINGS).declare(recorder)
    dead = recorder.queues["kanwa.mdt.dead"]
    assert dead is not None
    assert dead["x-delivery-limit"] == LOOKS_LIMIT


async def test_a_consumer_is_bound_to_its_patterns_and_only_owners_to_hand_overs() -> None:
    recorder = Recorder()
    await Topology(BINDINGS).declare(recorder)
    assert ("kanwa.scheduling", "kanwa.events", "intake.Task.*") in recorder.bindings
    assert ("kanwa.scheduling", "kanwa.handover", "scheduling") in recorder.bindings
    assert ("kanwa.mdt", "kanwa.handover", "mdt") not in recorder.bindings


async def test_a_check_declares_nothing() -> None:
    recorder, topology = Recorder(), Topology(BINDINGS)
    await topology.check(recorder)
    assert recorder.passive == set(recorder.queues)
    assert all(passive for _, passive in recorder.exchanges.values())
    assert recorder.bindings == set()
    declared = Recorder()
    await topology.declare(declared)
    assert (set(recorder.queues), set(recorder.exchanges)) == (set(declared.queues), set(declared.exchanges))


async def test_a_prefix_keeps_two_installations_apart() -> None:
    one, other = Recorder(), Recorder()
    await Topology(BINDINGS).declare(one)
    await Topology(BINDINGS, prefix="ward7").declare(other)
    assert not set(one.queues) & set(other.queues)
    assert not set(one.exchanges) & set(other.exchanges)


def test_a_service_may_write_to_the_exchanges_and_read_only_its_own_queues() -> None:
    configure, write, read = Topology(BINDINGS).permissions("scheduling")
    assert not re.search(configure, "kanwa.scheduling")
    assert re.search(write, "kanwa.events")
    assert re.search(write, "kanwa.scheduling.redelivery")
    assert not re.search(write, "kanwa.mdt.redelivery")
    assert not re.search(write, "amq.default")
    assert re.search(read, "kanwa.scheduling")
    assert not re.search(read, "kanwa.mdt")

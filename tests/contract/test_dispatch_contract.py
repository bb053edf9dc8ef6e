"""What consumers may rely on, the same over RabbitMQ and with direct dispatch."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from kanwa_shared.messaging.outbox import events_after
from tests.support.messaging import TRACEPARENT, Direct, Dispatch, Ledger, OverRabbit, WritingService
from tests.support.waiting import until


class Loop:
    """intake writes; `mdt` consumes everything, `scheduling` Tasks and hand-overs; one database for all."""

    def __init__(self, intake: WritingService, mdt: Ledger, scheduling: Ledger, dispatch: Dispatch) -> None:
        self.intake = intake
        self.mdt = mdt
        self.scheduling = scheduling
        self.dispatch = dispatch

    async def settled(self) -> None:
        """Return when every outbox row is published and nothing waits for another attempt."""

        async def nothing_waits() -> bool:
            waiting = await self.mdt.value("SELECT count(*) FROM delivery_attempt")
            return await self.intake.unpublished() == 0 and waiting == 0

        await until(nothing_waits, deadline_seconds=20, what="an empty outbox without unsettled deliveries")


@pytest.fixture(params=["direct", "rabbitmq"])
async def loop(request: pytest.FixtureRequest, database: Callable[..., str]) -> AsyncIterator[Loop]:
    async with AsyncExitStack() as stack:
        url = database()
        intake = await stack.enter_async_context(WritingService("intake", url))
        mdt = await stack.enter_async_context(Ledger("mdt", url))
        scheduling = await stack.enter_async_context(Ledger("scheduling", url, ("intake.Task.*",), owns=True))
        dispatch: Dispatch
        if request.param == "direct":
            dispatch = Direct([intake], [mdt, scheduling])
        else:
            dispatch = OverRabbit(request.getfixturevalue("amqp_url"), [intake], [mdt, scheduling])
        await dispatch.start()
        yield Loop(intake, mdt, scheduling, dispatch)
        await dispatch.stop()


def of(effects: list[str], resource: str) -> list[str]:
    return [subject.rsplit("/", 1)[-1] for subject in effects if subject.startswith(f"{resource}/")]


async def test_versions_of_a_resource_take_effect_in_order_at_every_consumer(loop: Loop) -> None:
    for version in range(1, 11):
        for resource in range(12):
            await loop.intake.write(f"t{resource}", version)
    for consumer in (loop.mdt, loop.scheduling):
        await until(lambda c=consumer: _count(c, 120), deadline_seconds=20)
        effects = await consumer.effects()
        for resource in range(12):
            assert of(effects, f"Task/t{resource}") == [str(version) for version in range(1, 11)]


async def _count(ledger: Ledger, expected: int) -> bool:
    return len(await ledger.effects()) == expected


async def test_a_consumer_gets_only_what_it_is_bound_to(loop: Loop) -> None:
    await loop.intake.write("g1", 1, resource_type="Goal")
    await loop.intake.write("t1", 1)
    await until(lambda: _count(loop.mdt, 2))
    await until(lambda: _count(loop.scheduling, 1))
    await loop.settled()
    assert await loop.scheduling.effects() == ["Task/t1/_history/1"]


async def test_a_body_arrives_byte_for_byte(loop: Loop) -> None:
    body = '{"resourceType":"Task",  "id":"t1",\n "v": 1.50, "é": "\\u00e9", "_x": {"a":[ 1e2 ]}}'
    await loop.intake.write("t1", 1, body=body)
    await until(lambda: _count(loop.mdt, 1))
    assert await loop.mdt.value("SELECT body FROM effect WHERE consumer = 'mdt'") == body


async def test_a_hand_over_reaches_its_target_and_nobody_else(loop: Loop) -> None:
    await loop.intake.hand_over("scheduling", "p1", resource_type="Procedure")
    await until(lambda: _count(loop.scheduling, 1))
    await loop.settled()
    assert await loop.scheduling.effects() == ["hand-over Procedure/p1"]
    assert await loop.mdt.effects() == []


async def test_a_retried_delivery_succeeds_and_leaves_no_trace_of_its_failures(loop: Loop) -> None:
    loop.mdt.script["Task/t1/_history/1"] = ["retry", "raise"]
    await loop.intake.write("t1", 1)
    await until(lambda: _count(loop.mdt, 1))
    await loop.settled()
    assert loop.mdt.calls.count("Task/t1/_history/1") == 3
    assert await loop.mdt.value("SELECT count(*) FROM dead_letter") == 0


async def test_later_versions_wait_for_one_that_is_retried(loop: Loop) -> None:
    loop.mdt.script["Task/t1/_history/1"] = ["retry", "retry"]
    for version in (1, 2, 3):
        await loop.intake.write("t1", version)
    await until(lambda: _count(loop.mdt, 3))
    assert of(await loop.mdt.effects(), "Task/t1") == ["1", "2", "3"]
    assert loop.mdt.calls.count("Task/t1/_history/2") == 1


async def test_a_delivery_is_given_up_after_so_many_attempts(loop: Loop) -> None:
    loop.mdt.script["Task/t1/_history/1"] = ["raise"] * 9
    event_id = await loop.intake.write("t1", 1)
    letter = await until(lambda: loop.mdt.row("SELECT * FROM dead_letter"), what="a dead letter")
    _, consumer, dead_id, source, reason, attempts, traceparent, envelope, *_ = letter
    assert (consumer, str(dead_id), source) == ("mdt", event_id, "https://kanwa.example/intake")
    assert (attempts, traceparent) == (3, TRACEPARENT)
    assert event_id in envelope
    assert reason.startswith("RuntimeError")
    assert "Jane" not in reason
    await loop.settled()
    assert loop.mdt.calls.count("Task/t1/_history/1") == 3


async def test_the_next_version_goes_on_after_a_dead_letter(loop: Loop) -> None:
    loop.mdt.script["Task/t1/_history/1"] = ["retry"] * 9
    await loop.intake.write("t1", 1)
    await loop.intake.write("t1", 2)
    await until(lambda: _count(loop.mdt, 1))
    await loop.settled()
    assert await loop.mdt.effects() == ["Task/t1/_history/2"]
    assert await loop.mdt.value("SELECT count(*) FROM dead_letter") == 1


async def test_a_poison_message_holds_up_neither_other_resources_nor_other_consumers(loop: Loop) -> None:
    loop.mdt.script["Task/poison/_history/1"] = ["raise"] * 9
    await loop.intake.write("poison", 1)
    for number in range(40):
        await loop.intake.write(f"t{number}", 1)
    await until(lambda: _count(loop.mdt, 40))
    await until(lambda: _count(loop.scheduling, 41))
    await loop.settled()
    assert await loop.mdt.value("SELECT count(*) FROM dead_letter WHERE consumer = 'mdt'") == 1
    assert await loop.mdt.value("SELECT count(*) FROM dead_letter WHERE consumer <> 'mdt'") == 0


async def test_a_rejected_delivery_is_given_up_at_once(loop: Loop) -> None:
    loop.mdt.script["Task/t1/_history/1"] = ["reject"]
    await loop.intake.write("t1", 1)
    letter = await until(lambda: loop.mdt.row("SELECT reason, attempts FROM dead_letter"))
    assert letter == ("never", 1)
    assert loop.mdt.calls == ["Task/t1/_history/1"]


async def test_an_effect_that_was_committed_before_a_crash_happens_once(loop: Loop) -> None:
    loop.mdt.script["Task/t1/_history/1"] = ["commit, then raise"]
    await loop.intake.write("t1", 1)
    await until(lambda: loop.mdt.calls.count("Task/t1/_history/1") == 2)
    await loop.settled()
    assert await loop.mdt.effects() == ["Task/t1/_history/1"]


async def test_a_replayed_dead_letter_takes_effect_and_is_resolved(loop: Loop) -> None:
    loop.mdt.script["Task/t1/_history/1"] = ["reject"]
    await loop.intake.write("t1", 1)
    letter = await until(lambda: loop.mdt.row("SELECT id FROM dead_letter"))
    loop.mdt.script["Task/t1/_history/1"] = ["retry"]
    await loop.dispatch.replay(loop.mdt, letter[0])
    await until(lambda: loop.mdt.value("SELECT resolved_at FROM dead_letter"))
    assert await loop.mdt.effects() == ["Task/t1/_history/1"]


async def test_a_replayed_dead_letter_that_fails_again_is_open_again(loop: Loop) -> None:
    loop.mdt.script["Task/t1/_history/1"] = ["reject", "retry", "retry", "retry"]
    await loop.intake.write("t1", 1)
    letter = await until(lambda: loop.mdt.row("SELECT id FROM dead_letter"))
    await loop.dispatch.replay(loop.mdt, letter[0])
    again = await until(
        lambda: loop.mdt.row(
            "SELECT reason, attempts FROM dead_letter WHERE replayed_at IS NULL AND attempts > 1"
        )
    )
    assert again == ("not yet", 3)


async def test_a_restart_in_the_middle_loses_nothing_and_repeats_no_effect(loop: Loop) -> None:
    loop.mdt.slow_seconds = 0.002
    for version in range(1, 6):
        for resource in range(30):
            await loop.intake.write(f"t{resource}", version)
    for so_far in (20, 40, 60, 80, 100, 120):
        await until(lambda n=so_far: _at_least(loop.mdt, n), deadline_seconds=20)
        await loop.dispatch.kill()
        await loop.dispatch.start()
    for consumer in (loop.mdt, loop.scheduling):
        await until(lambda c=consumer: _at_least(c, 150), deadline_seconds=60)
    await loop.settled()
    for consumer in (loop.mdt, loop.scheduling):
        effects = await consumer.effects()
        assert len(effects) == 150
        for resource in range(30):
            assert of(effects, f"Task/t{resource}") == ["1", "2", "3", "4", "5"]


async def _at_least(ledger: Ledger, number: int) -> bool:
    return len(await ledger.effects()) >= number


async def test_attempts_are_still_counted_after_a_restart(loop: Loop) -> None:
    loop.mdt.script["Task/t1/_history/1"] = ["retry"] * 9
    await loop.intake.write("t1", 1)
    await until(lambda: loop.mdt.value("SELECT attempts FROM delivery_attempt"))
    await loop.dispatch.kill()
    await loop.dispatch.start()
    await until(lambda: loop.mdt.value("SELECT attempts FROM dead_letter"))
    assert await loop.mdt.value("SELECT attempts FROM dead_letter") == 3
    assert loop.mdt.calls.count("Task/t1/_history/1") <= 4  # one more if it died between failing and counting


async def test_stopping_lets_running_handlers_finish(loop: Loop) -> None:
    loop.mdt.slow_seconds = 0.3
    await loop.intake.write("t1", 1)
    await until(lambda: loop.mdt.running == 1)
    await loop.dispatch.stop()
    assert await loop.mdt.effects() == ["Task/t1/_history/1"]
    await loop.dispatch.start()


async def test_every_event_can_be_read_again_from_the_outbox(loop: Loop) -> None:
    for version in (1, 2, 3):
        await loop.intake.write("t1", version)
    await loop.settled()
    events = await events_after(loop.intake.connection, "intake", 1, 10)
    assert [(event.sequence, event.version) for event in events] == [(2, 2), (3, 3)]
    assert [event.sequence for event in await events_after(loop.intake.connection, "intake", 0, 1)] == [1]


async def test_sequences_have_no_gap(loop: Loop) -> None:
    for number in range(50):
        await loop.intake.write(f"t{number}", 1)
    await loop.settled()
    assert await loop.intake.sequences() == list(range(1, 51))

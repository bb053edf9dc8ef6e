"""`kanwa dlq` and `kanwa outbox` as an operator types them, against a consumer that runs."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from kanwa.cli import app
from kanwa_shared.messaging.amqp import Channel, Connection
from kanwa_shared.messaging.broker import Delivery
from tests.support.messaging import Ledger, Loop, WritingService
from tests.support.waiting import until

SECRET = "Jane Doe"


class Operated:
    """A loop with a consumer that rejects what its script says, and a shell beside it."""

    def __init__(self, url: str, amqp_url: str, intake: WritingService, mdt: Ledger) -> None:
        self.intake, self.mdt, self._amqp_url = intake, mdt, amqp_url
        self._environment = {"KANWA_DATABASE_URL": url, "KANWA_AMQP_URL": amqp_url}

    async def kanwa(self, *arguments: str, **environment: str | None) -> Result:
        """Run one command; its own event loop needs a thread of its own."""
        return await asyncio.to_thread(
            CliRunner().invoke, app, list(arguments), env=self._environment | environment
        )

    async def letters(self) -> list[dict[str, Any]]:
        listed = await self.kanwa("dlq", "list", "--json")
        assert listed.exit_code == 0, listed.output
        return [json.loads(line) for line in listed.stdout.splitlines()]

    async def dead_copies(self) -> int:
        connection = await Connection.open(self._amqp_url, name="probe")
        channel = await connection.channel()
        depth = await channel.declare_queue("kanwa.mdt.dead", passive=True)
        await connection.close()
        return depth

    async def kill(self, *names: str) -> None:
        """One dead letter for each name."""
        for name in names:
            self.mdt.script[f"Task/{name}/_history/1"] = ["reject"]
            await self.intake.write(name, 1, body=f'{{"resourceType":"Task","description":"{SECRET}"}}')
        await until(lambda: self.has_copies(len(names)))

    async def has_copies(self, number: int) -> bool:
        return await self.dead_copies() == number


@pytest.fixture
def operated(loop: Loop) -> Operated:
    return Operated(loop.intake.url, loop.url, loop.intake, loop.mdt)


async def test_letters_are_listed_and_shown_without_patient_data_unless_asked_for(operated: Operated) -> None:
    await operated.kill("t1")
    (letter,) = await operated.letters()
    assert (letter["consumer"], letter["reason"], letter["attempts"]) == ("mdt", "never", 1)
    table = await operated.kanwa("dlq", "list")
    assert "never" in table.stdout
    shown = await operated.kanwa("dlq", "show", str(letter["id"]))
    assert json.loads(shown.stdout)["event"]["subject"] == "Task/t1/_history/1"
    assert SECRET not in table.output + shown.output
    whole = await operated.kanwa("dlq", "show", str(letter["id"]), "--data")
    assert json.loads(whole.stdout)["event"]["data"]["description"] == SECRET
    assert (await operated.kanwa("dlq", "show", "4711")).exit_code != 0


async def test_one_letter_is_replayed_and_then_all(operated: Operated) -> None:
    await operated.kill("t1", "t2", "t3")
    first = (await operated.letters())[0]["id"]
    replayed = await operated.kanwa("dlq", "replay", str(first))
    assert "1 dead letter" in replayed.stdout
    await until(lambda: _effects(operated, 1))
    await until(lambda: operated.has_copies(2))
    assert "2 dead letters" in (await operated.kanwa("dlq", "replay", "--all")).stdout
    await until(lambda: _effects(operated, 3))
    await until(lambda: operated.mdt.value("SELECT count(resolved_at) = 3 FROM dead_letter"))
    assert await operated.letters() == []
    await until(lambda: operated.has_copies(0))


async def _effects(operated: Operated, number: int) -> bool:
    return len(await operated.mdt.effects()) == number


async def test_a_dropped_letter_is_gone_from_table_and_queue(operated: Operated) -> None:
    await operated.kill("t1", "t2")
    first, second = (letter["id"] for letter in await operated.letters())
    assert (await operated.kanwa("dlq", "drop", str(first))).exit_code != 0  # nobody confirmed
    assert len(await operated.letters()) == 2
    assert (await operated.kanwa("dlq", "drop", str(first), "--yes")).exit_code == 0
    assert [letter["id"] for letter in await operated.letters()] == [second]
    await until(lambda: operated.has_copies(1))


@pytest.mark.parametrize("command", [("drop", "--yes"), ("replay",)], ids=lambda command: command[0])
async def test_the_copies_of_several_letters_are_taken_out_in_one_pass(
    operated: Operated, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    await operated.kill("t1", "t2", "t3", "t4")
    numbers = [str(letter["id"]) for letter in await operated.letters()]
    taken = list[str]()
    get = Channel.get

    async def noted(self: Channel, queue: str) -> Delivery | None:
        taken.append(queue)
        return await get(self, queue)

    monkeypatch.setattr(Channel, "get", noted)
    answer = await operated.kanwa("dlq", *command, *numbers[:3])
    assert "3 dead letters" in answer.stdout
    assert taken == ["kanwa.mdt.dead"] * 4
    await until(lambda: operated.has_copies(1))


async def test_a_broker_that_is_away_is_told_in_one_line(operated: Operated) -> None:
    await operated.kill("t1")
    number = str((await operated.letters())[0]["id"])
    answer = await operated.kanwa("dlq", "drop", number, "--yes", KANWA_AMQP_URL="amqp://127.0.0.1:1/")
    assert answer.exit_code != 0
    assert "broker" in answer.output
    assert len(await operated.letters()) == 1


async def test_the_outbox_tells_what_waits_and_whether_a_relay_works_on_it(
    database: Callable[..., str],
) -> None:
    url = database()
    async with WritingService("intake", url) as intake:
        await intake.write("t1", 1)
        await intake.hand_over("outcomes", "o1", resource_type="Observation")
        await intake.connection.execute(
            "UPDATE outbox SET attempts = 3, last_error = 'NO_ROUTE' WHERE kind = 'handover'"
        )
        operated = Operated(url, "", intake, Ledger("mdt", url))
        told = json.loads((await operated.kanwa("outbox", "status", "--json")).stdout)
        assert (told["depth"], told["failing"], told["relay_active"]) == (2, 1, False)
        text = (await operated.kanwa("outbox", "status")).stdout
        assert "NONE IS ACTIVE" in text
        assert "hand-over to outcomes" in text
        assert "NO_ROUTE" in text

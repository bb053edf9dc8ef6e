"""The fault rig itself: a product that breaks a promise is caught, and the same product without the break is not."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from kanwa.demo.drive import JSON
from kanwa_shared.fhir.json_text import dumps
from tests.chaos.deployment import Layout
from tests.chaos.evidence import Tree, Violation
from tests.chaos.probe import Recorded, channel_to, seen
from tests.chaos.rig import Rig, rig, settled
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
#: What is lost is never found, so there is no point in waiting for it as long as a run does.
PATIENCE_SECONDS = 4.0
SMALL = Layout(services=("intake", "outcomes", "mdt"), standby=(), steady_board=False)
BROKEN = {
    "outcomes-worker": "acknowledge-before-commit",
    "intake-api": "publish-before-commit",
    "mdt-worker": "no-inbox",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What is found of the product as it is, and of the same one with each promise broken in one process."""

    sound: frozenset[Violation]
    broken: frozenset[Violation]

    def of(self, resource: str) -> set[str]:
        """Kinds of what is found about a resource of the broken product."""
        return {violation.kind for violation in self.broken if resource in violation.subject}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def found() -> AsyncIterator[Found]:
    # Not pytest's folder: the servers' own accounts may not enter it.
    with TemporaryDirectory(prefix="kanwa-chaos-") as folder:
        async with rig(Path(folder), 1, SMALL, broker_nodes=1, clocks_shift=False) as running:
            for _ in range(2):
                await write(running, {"resourceType": "Patient", "id": "sound", "active": True})
            sound = await judged(running)
            await start_as(running, BROKEN)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(promise_what_is_lost(running))
                tasks.create_task(deliver_twice(running))
            await announce_what_is_not_written(running)
            yield Found(sound, await judged(running))


async def test_a_product_that_keeps_its_promises_is_found_sound(found: Found) -> None:
    assert found.sound == frozenset()


async def test_acknowledging_before_the_commit_is_caught_as_a_loss(found: Found) -> None:
    assert found.of("Observation/") == {"lost"}


async def test_publishing_before_the_commit_is_caught_as_a_phantom(found: Found) -> None:
    assert "phantom" in found.of("Patient/phantom")


async def test_a_consumer_without_an_inbox_is_caught_as_a_duplicate(found: Found) -> None:
    assert found.of("Organization/twice") == {"duplicated"}


async def judged(running: Rig) -> frozenset[Violation]:
    verdict, _ = await settled(running, patience_seconds=PATIENCE_SECONDS)
    return frozenset(verdict.violations)


async def start_as(running: Rig, promises: Mapping[str, str]) -> None:
    """Kill processes, so that they start again as a product that breaks these promises."""
    processes = running.deployment.supervisor.processes
    started = {name: processes[name].started for name in promises}
    for name, promise in promises.items():
        run_by(running, name, ["tests.chaos.sabotage", promise, str(sign_of(running, name))])
        running.deployment.supervisor.kill(name)
    await until(
        lambda: all(processes[name].started > before for name, before in started.items()), deadline_seconds=20
    )
    await until(running.deployment.all_answer, deadline_seconds=90, what="the broken processes")


def run_by(running: Rig, name: str, module: list[str]) -> None:
    """From its next start on, the process is this module."""
    process = running.deployment.supervisor.processes[name]
    command = list(process.command)
    process.command = [*command[: command.index("-m") + 1], *module, *command[command.index("serve") :]]


def sign_of(running: Rig, name: str) -> Path:
    """The file by which a broken process tells that it is in the moment that it stretches."""
    return running.deployment.supervisor.processes[name].log.with_suffix(".broken")


async def kill_in_the_moment(running: Rig, name: str) -> None:
    """Kill a broken process in the moment that it stretches; it starts again as it should be."""
    run_by(running, name, ["kanwa"])
    await until(sign_of(running, name).exists, deadline_seconds=30, what="the moment to kill")
    assert running.deployment.supervisor.kill(name)


async def promise_what_is_lost(running: Rig) -> None:
    """A transaction whose Observation is promised by intake and written by outcomes, which dies meanwhile."""
    observation: Tree = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "6301-6"}]},
        "effectiveDateTime": "2026-11-25T08:00:00Z",
        "valueQuantity": {"value": 1, "unit": "{INR}"},
    }
    request = {"method": "POST", "url": "Observation"}
    entry: Tree = {"fullUrl": f"urn:uuid:{uuid4()}", "resource": observation, "request": request}
    bundle: Tree = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(running.client.post("", content=dumps(bundle), headers=JSON))
        tasks.create_task(kill_in_the_moment(running, "outcomes-worker"))


async def announce_what_is_not_written(running: Rig) -> None:
    """A Patient whose event is out when the API dies before its commit."""
    tree: Tree = {"resourceType": "Patient", "id": "phantom", "active": True}

    async def unanswered() -> None:
        with pytest.raises(httpx.HTTPStatusError):
            await write(running, tree)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(kill_in_the_moment(running, "intake-api"))
        tasks.create_task(unanswered())


async def deliver_twice(running: Rig) -> None:
    """An event that the board receives a second time, long after the first."""

    def effects() -> int:
        return sum(event.resource == "Organization/twice" for event in running.subscriber.had)

    await write(running, {"resourceType": "Organization", "id": "twice", "name": "Twice"})
    await until(lambda: effects() == 1, deadline_seconds=30, what="the effect")
    [message] = told(running, "Organization/twice")
    await asyncio.to_thread(send_to_board, running, message)
    await until(lambda: effects() > 1, deadline_seconds=30, what="the second effect")


async def write(running: Rig, tree: Tree) -> None:
    url = f"{tree['resourceType']}/{tree['id']}"
    (await running.client.put(url, content=dumps(tree), headers=JSON)).raise_for_status()


def told(running: Rig, resource: str) -> list[Recorded]:
    """Deliveries about a resource to the probing consumer."""
    return [message for message in running.probe.events if seen(message.body).resource == resource]


def send_to_board(running: Rig, message: Recorded) -> None:
    with channel_to(running.deployment.broker_urls) as channel:
        channel.basic_publish("", "kanwa.mdt", message.body, message.properties)

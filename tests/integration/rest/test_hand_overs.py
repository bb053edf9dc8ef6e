"""What an owner does with resources that are handed over to it."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from kanwa_shared.errors import Gone
from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.messaging.envelope import Ack, HandOver
from kanwa_shared.rest.engine import Engine, Origin
from kanwa_shared.rest.reactions import Reactions
from kanwa_shared.rest.service import ServiceDefinition
from kanwa_shared.settings import BaseServiceSettings
from kanwa_shared.store.pool import open_pool
from kanwa_shared.store.resources import ResourceStore


@pytest.fixture
async def engine(database: Callable[..., str]) -> AsyncIterator[Engine]:
    url = database()
    settings = BaseServiceSettings.load(database_url=url, auth_mode="open")
    async with open_pool(url, max_size=2) as pool:
        yield Engine(ServiceDefinition("intake"), settings, ResourceStore(pool), {})


async def hand_over(engine: Engine, interaction: str, base: int | None = None, **elements: Any) -> int:
    """Deliver a Task from outcomes; gives the version that the owner has then."""
    task = {"resourceType": "Task", "id": "t", "intent": "plan", **elements}
    handed = HandOver(
        id=str(uuid4()),
        source="https://kanwa.example/outcomes",
        time=datetime.now(UTC),
        target="intake",
        interaction=interaction,
        resource_type="Task",
        resource_id="t",
        body=dumps(task),
        base_version=base,
    )
    assert await Reactions(engine).on_hand_over(handed) == Ack()
    return (await engine.store.read("Task", "t")).version


async def test_an_update_that_says_nothing_new_is_no_version(engine: Engine) -> None:
    """Until the sender's copy has followed, each event lets it send the same update, at another time."""
    assert await hand_over(engine, "create", status="requested") == 1
    assert await hand_over(engine, "update", status="completed", lastModified="2026-11-25T09:25:18.532Z") == 2
    assert await hand_over(engine, "update", status="completed", lastModified="2026-11-25T09:25:19.516Z") == 2
    assert await hand_over(engine, "create", status="requested") == 2
    assert await hand_over(engine, "update", status="cancelled", lastModified="2026-11-25T09:25:20.000Z") == 3


async def test_an_update_of_a_label_or_of_a_digit_is_a_version(engine: Engine) -> None:
    await hand_over(engine, "create", status="requested")
    assert await hand_over(engine, "update", status="requested", meta={"tag": [{"code": "a"}]}) == 2
    restricted = {
        "status": "requested",
        "extension": [{"url": "http://x.example", "valueDecimal": Decimal("1.5")}],
    }
    assert await hand_over(engine, "update", **restricted) == 3
    restricted["extension"] = [{"url": "http://x.example", "valueDecimal": Decimal("1.50")}]
    assert await hand_over(engine, "update", **restricted) == 4
    assert await hand_over(engine, "update", **restricted) == 4


async def test_an_update_of_an_older_version_leaves_what_was_changed_since(engine: Engine) -> None:
    """A clinician gives the Task an owner while outcomes, which has not seen that yet, completes it."""
    await hand_over(engine, "create", status="requested", description="Day 1")
    owner = {"display": "Dr Aoki"}
    assert await hand_over(engine, "update", status="requested", description="Day 1", owner=owner) == 2
    assert await hand_over(engine, "update", base=1, status="completed") == 3
    tree = (await engine.store.read("Task", "t")).tree
    assert (tree["status"], tree["owner"], "description" in tree) == ("completed", owner, False)


async def test_an_update_of_an_older_version_does_not_undo_what_was_decided_since(engine: Engine) -> None:
    await hand_over(engine, "create", status="requested")
    assert await hand_over(engine, "update", status="cancelled") == 2
    assert await hand_over(engine, "update", base=1, status="completed", output=[]) == 2
    assert await hand_over(engine, "update", base=9, status="completed") == 2, "a version that is not here"
    assert (await engine.store.read("Task", "t")).tree["status"] == "cancelled"
    assert await hand_over(engine, "update", base=2, status="completed") == 3
    assert await hand_over(engine, "update", status="requested") == 4, "without a base it stands for itself"


async def test_an_update_does_not_bring_back_what_was_deleted_since(engine: Engine) -> None:
    await hand_over(engine, "create", status="requested")
    context = engine.context(Origin())
    context.changes.delete(await engine.store.read("Task", "t"))
    await engine.store.commit(context.changes)
    with pytest.raises(Gone):
        await hand_over(engine, "update", base=1, status="completed")

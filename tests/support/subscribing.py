"""Steps of tests about Subscriptions: subscribe, refer, wait for a status."""

from typing import Any

from tests.support.intake_service import Intake
from tests.support.subscriptions import referral
from tests.support.waiting import until

Tree = dict[str, Any]


async def subscribe(service: Intake, tree: Tree) -> str:
    """Create it; the reference."""
    written = await service.write(tree, 201)
    assert written["status"] == "requested"
    return f"Subscription/{written['id']}"


async def status_of(service: Intake, reference: str) -> str:
    return (await service.read(reference))["status"]


async def becomes(service: Intake, reference: str, status: str) -> None:
    async def is_so() -> bool:
        return await status_of(service, reference) == status

    await until(is_so, what=f"{reference} being {status}")


async def refer(service: Intake, count: int, **more: Any) -> list[str]:
    """Referrals and what the service makes of them; their references, oldest first."""
    made = [f"ServiceRequest/{(await service.write(referral(**more), 201))['id']}" for _ in range(count)]
    await service.hear_itself()
    return made

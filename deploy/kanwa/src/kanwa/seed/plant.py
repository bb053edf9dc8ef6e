"""Seeding over FHIR, as any client would: what is there already is left alone."""

import asyncio
from datetime import date, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import httpx

from kanwa.seed.hospital_group import WEEKS, fixed_resources, slots

AT_ONCE: Final = 8
OK: Final = 200
NOT_FOUND: Final = 404


async def plant(client: httpx.AsyncClient, today: date, zone: ZoneInfo) -> int:
    """Write the hospital group and its Slots for four weeks from `today`; returns how many resources were written.

    A later call adds the days that are missing. Raises httpx.HTTPStatusError if the server refuses one.
    """
    written = 0
    for tree in fixed_resources():
        written += await _put_if_absent(client, tree)
    first = await _first_day_to_fill(client, today, zone)
    limit = asyncio.Semaphore(AT_ONCE)

    async def put(tree: dict[str, Any]) -> int:
        async with limit:
            return await _put_if_absent(client, tree)

    last = today + timedelta(weeks=WEEKS) - timedelta(days=1)
    return written + sum(await asyncio.gather(*(put(slot) for slot in slots(first, last, zone))))


async def _first_day_to_fill(client: httpx.AsyncClient, today: date, zone: ZoneInfo) -> date:
    """The day after the last one that has a seeded Slot; booked days must not be filled a second time."""
    for ahead in range(7 * WEEKS, -1, -1):
        day = today + timedelta(days=ahead)
        sample = next(
            slot for slot in slots(day, day, zone) if slot["id"].startswith("suite-central-angio-ct")
        )
        if (await client.get(f"Slot/{sample['id']}")).status_code != NOT_FOUND:
            return day + timedelta(days=1)
    return today


async def _put_if_absent(client: httpx.AsyncClient, tree: dict[str, Any]) -> int:
    url = f"{tree['resourceType']}/{tree['id']}"
    if (await client.get(url)).status_code == OK:
        return 0
    answer = await client.put(url, json=tree, headers={"prefer": "return=minimal"})
    answer.raise_for_status()
    return 1

"""The FHIR side of the evidence: every version of every resource, read as any client reads."""

import asyncio
import json
from typing import Any

import httpx

from tests.chaos.evidence import Tree

PAGE = 500
AT_ONCE = 4
#: What a gateway and a service answer while a process or the database is away.
AGAIN = frozenset({502, 503})
TRIES = 40
RETRY_SECONDS = 0.2
Histories = dict[str, dict[int, Tree | None]]


async def read_histories(client: httpx.AsyncClient, types: list[str] | None = None) -> Histories:
    """The histories of all types that the server says it has, or of `types`; a deletion is None.

    Raises httpx.HTTPStatusError if the server does not answer as it should.
    """
    limit = asyncio.Semaphore(AT_ONCE)
    histories: Histories = {}

    async def read(resource_type: str) -> None:
        url = f"{resource_type}/_history?_count={PAGE}"
        while url:
            async with limit:
                bundle = await _get(client, url)
            for entry in bundle.get("entry", []):
                reference = entry["fullUrl"].rpartition("/fhir/")[2]
                version = int(entry["response"]["etag"].strip('W/"'))
                histories.setdefault(reference, {})[version] = entry.get("resource")
            url = next((one["url"] for one in bundle.get("link", []) if one["relation"] == "next"), "")

    await asyncio.gather(*map(read, await _types(client) if types is None else types))
    return histories


async def _types(client: httpx.AsyncClient) -> list[str]:
    statement = await _get(client, "metadata")
    return [
        resource["type"]
        for resource in statement["rest"][0]["resource"]
        if any(interaction["code"] == "history-type" for interaction in resource.get("interaction", []))
    ]


async def _get(client: httpx.AsyncClient, url: str) -> Any:
    """Read as a client does that takes 503 for what it says: try again."""
    for _ in range(TRIES):
        answer = await client.get(url)
        if answer.status_code not in AGAIN:
            break
        await asyncio.sleep(RETRY_SECONDS)
    answer.raise_for_status()
    return json.loads(answer.content, parse_float=str)

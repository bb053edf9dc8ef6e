"""All services in one process are one FHIR server."""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kanwa.embedded.run import embedded
from kanwa_shared.fhir.validation import RESOURCE_TYPES
from kanwa_shared.profiles import profile_resources


async def test_the_capability_statement_lists_every_type_of_every_service_once(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    async with embedded(tmp_path, free_port(), asyncio.Event()) as run:
        stated = (await run.fhir.get("metadata")).json()["rest"][0]["resource"]
    assert Counter(resource["type"] for resource in stated) == Counter(RESOURCE_TYPES)
    named = {url for resource in stated for url in resource.get("supportedProfile", [])}
    backport = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-subscription"
    assert named == {backport, *(profile["url"] for profile in profile_resources())}


def _observation(id: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "x"}, **more}


def _transaction(*entries: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"request": {"method": method, "url": f"{one['resourceType']}/{one['id']}"}}
            | ({} if method == "DELETE" else {"resource": one})
            for method, one in entries
        ],
    }


async def test_a_transaction_waits_for_the_owners_updates_and_deletions(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    headers = {"content-type": "application/fhir+json"}
    async with embedded(tmp_path, free_port(), asyncio.Event()) as run:
        made = _transaction(("PUT", _observation("kept")), ("PUT", _observation("gone")))
        first = (await run.fhir.post("", json=made, headers=headers)).json()
        changed = _transaction(
            ("PUT", _observation("kept", valueInteger=7)),
            ("DELETE", _observation("gone")),
            ("DELETE", _observation("never-there")),
        )
        second = (await run.fhir.post("", json=changed, headers=headers)).json()
        same = (await run.fhir.post("", json=_transaction(("PUT", _observation("kept", valueInteger=7))),
                                    headers=headers)).json()  # fmt: skip
        read = await run.fhir.get("Observation/kept")
        deleted = await run.fhir.get("Observation/gone")
    assert [entry["response"]["status"][:3] for entry in first["entry"]] == ["201", "201"]
    responses = [entry["response"] for entry in second["entry"]]
    assert [(one["status"][:3], one.get("etag")) for one in responses] == [
        ("200", 'W/"2"'),
        ("204", 'W/"2"'),
        ("204", None),
    ]
    assert not [one for one in responses if "outcome" in one], "nothing is still on its way"
    assert second["entry"][0]["resource"]["valueInteger"] == 7
    unchanged = same["entry"][0]["response"]
    assert (unchanged["status"][:3], unchanged["etag"], "outcome" in unchanged) == ("200", 'W/"2"', False)
    assert (read.json()["valueInteger"], deleted.status_code) == (7, 410)

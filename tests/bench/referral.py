"""What the load consists of: a referral as an EHR writes it, and the rows that it becomes."""

import asyncio
import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import httpx

from kanwa.services import FHIR_SERVICES
from kanwa_shared.logging import configure_logging
from kanwa_shared.rest.app import create_app
from kanwa_shared.store import resources

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[45][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
IR_PROCEDURE = "https://kanwa.example/fhir/CodeSystem/ir-procedure"


def referral(patient: str) -> bytes:
    """A ServiceRequest with what a referral usually holds; each is for a patient of its own."""
    tree: dict[str, Any] = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "priority": "routine",
        "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "363679005"}]}],
        "code": {
            "coding": [{"system": IR_PROCEDURE, "code": "paracentesis", "display": "Paracentesis"}],
            "text": "Drainage of malignant ascites",
        },
        "subject": {"reference": f"Patient/{patient}"},
        "occurrencePeriod": {"start": "2026-11-25T08:00:00+09:00", "end": "2026-12-02T17:00:00+09:00"},
        "authoredOn": "2026-11-24T16:20:31.250+09:00",
        "requester": {"reference": "Practitioner/ref-17", "display": "Medical oncology"},
        "reasonCode": [{"text": "Tense ascites, dyspnoea at rest, ovarian cancer stage IV"}],
        "bodySite": [{"text": "Left lower quadrant"}],
        "note": [{"text": "Two earlier drainages; lives with her daughter; prefers an afternoon."}],
    }
    return json.dumps(tree).encode()


def referrals(count: int) -> Iterator[bytes]:
    """`count` of them."""
    return (referral(str(uuid.uuid4())) for _ in range(count))


def captured_commit(database_url: str) -> str:
    """The argument of `commit_changes` that one such referral leads to, as the real service makes it."""
    return asyncio.run(_capture(database_url))


async def _capture(database_url: str) -> str:
    configure_logging("console", "warning")
    definition = FHIR_SERVICES["intake"]
    settings = definition.settings_class.load(database_url=database_url, auth_mode="open")
    app = create_app(definition, settings, peers={})
    seen: list[str] = []
    original = resources.encode

    def seeing(*given: Any, **named: Any) -> str:
        seen.append(original(*given, **named))
        return seen[-1]

    resources.encode = seeing
    try:
        async with app.router.lifespan_context(app):
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost/fhir/")
            async with client:
                body = referral(str(uuid.uuid4()))
                answer = await client.post(
                    "ServiceRequest", content=body, headers={"content-type": "application/fhir+json"}
                )
                assert answer.status_code == 201, answer.text
    finally:
        resources.encode = original
    (argument,) = seen
    return argument


class FreshIds:
    """The same rows again with other ids: every UUID in a text becomes a new one, the same for the same."""

    def __init__(self, text: str):
        self._between = _UUID.split(text)
        found = _UUID.findall(text)
        self._distinct = sorted(set(found))
        self._places = [self._distinct.index(one) for one in found]

    def text(self) -> str:
        """The next one."""
        fresh = [str(uuid.uuid4()) for _ in self._distinct]
        parts = [self._between[0]]
        for place, between in zip(self._places, self._between[1:], strict=True):
            parts += (fresh[place], between)
        return "".join(parts)

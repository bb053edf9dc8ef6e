"""What tests of the REST interface share: addresses, headers, and the first issue of an answer."""

from typing import Any

import httpx

BASE = "http://kanwa.test/fhir"
JSON = {"content-type": "application/fhir+json"}


def issue(answer: httpx.Response) -> dict[str, Any]:
    outcome = answer.json()
    assert outcome["resourceType"] == "OperationOutcome", answer.text
    return outcome["issue"][0]


async def a_patient(client: httpx.AsyncClient, body: bytes = b'{"resourceType":"Patient"}') -> str:
    answer = await client.post("Patient", content=body, headers=JSON)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]

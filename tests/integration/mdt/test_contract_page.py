"""The event contract as programs and people get it from the board, without a token."""

import re

import httpx

from kanwa_shared.messaging.asyncapi import document
from kanwa_shared.security.access import EVERYBODY, required_access


async def test_programs_get_the_document(client: httpx.AsyncClient, board_url: str) -> None:
    answer = await client.get(f"{board_url}/asyncapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == document()


async def test_people_get_a_page_that_needs_nothing_from_elsewhere(
    client: httpx.AsyncClient, board_url: str
) -> None:
    answer = await client.get(f"{board_url}/asyncapi")
    assert answer.status_code == 200
    for word in ("kanwa.events", "kanwa.notifications", "sequence", "kanwa.scheduling.Appointment.*.v1"):
        assert word in answer.text
    loaded = re.findall(r'<(?:link|script|img)[^>]*(?:href|src)="([^"]+)"', answer.text)
    assert loaded
    assert all(address.startswith("/static/") for address in loaded)


def test_the_contract_is_open_to_everybody() -> None:
    for path in ("/asyncapi", "/asyncapi.json"):
        assert required_access("GET", path) == EVERYBODY

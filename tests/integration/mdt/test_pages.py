"""The board's pages over HTTP: complete without scripts, safe, and refused to strangers."""

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kanwa_mdt.service import MdtSettings, create_app
from kanwa_shared.messaging.envelope import Event, EventHandler
from tests.support.mdt_cases import EventSource, Referral, people, whole_loop
from tests.support.mdt_server import served

PAGE = {"accept": "text/html"}


async def take(handler: EventHandler, events: list[Event]) -> None:
    await asyncio.gather(*(handler(event) for event in events))


async def test_an_empty_board_says_what_to_do(board_url: str, client: httpx.AsyncClient) -> None:
    page = (await client.get(board_url, headers=PAGE)).text
    assert "No referrals yet" in page
    assert "/fhir/ServiceRequest" in page


async def test_cases_stand_in_their_columns_most_urgent_and_first_due_first(
    board_url: str, client: httpx.AsyncClient, handler: EventHandler
) -> None:
    source = EventSource()
    cases = [("r2", "routine"), ("u", "urgent"), ("r1", "routine"), ("s", "stat"), ("a", "asap")]
    events: list[Event] = []
    for key, priority in cases:
        events += Referral(source, key, "nephrostomy", priority=priority).refer()
    await take(handler, events)
    page = (await client.get(board_url, headers=PAGE)).text
    columns = dict(re.findall(r'data-stage="([a-z-]+)".*?<ol class="cards">(.*?)</ol>', page, re.DOTALL))
    order = re.findall(r'<li data-case="([^"]+)"', columns["awaiting-mdt"])
    assert order == ["a", "u", "r2", "r1"]
    assert re.findall(r'<li data-case="([^"]+)"', columns["accepted"]) == ["s"]
    assert "1 emergency" in page


async def test_the_columns_answer_304_until_something_changes(
    board_url: str, client: httpx.AsyncClient, handler: EventHandler
) -> None:
    source = EventSource()
    await take(handler, list(Referral(source, "a").refer()))
    first = await client.get(f"{board_url}/board/columns")
    again = await client.get(f"{board_url}/board/columns", headers={"if-none-match": first.headers["etag"]})
    await take(handler, list(Referral(source, "b").refer()))
    changed = await client.get(f"{board_url}/board/columns", headers={"if-none-match": first.headers["etag"]})
    assert (first.status_code, again.status_code, changed.status_code) == (200, 304, 200)
    assert int(changed.headers["x-kanwa-position"]) > int(first.headers["x-kanwa-position"])


async def test_a_case_page_tells_the_whole_story(
    board_url: str, client: httpx.AsyncClient, handler: EventHandler
) -> None:
    source = EventSource()
    await take(handler, [*people(source), *whole_loop(Referral(source, "a", family="O'Hara <b>"))])
    page = (await client.get(f"{board_url}/cases/a", headers=PAGE)).text
    story = (
        "O&#39;HARA &lt;B&gt; Haru",
        "Metastatic lung cancer",
        "1.10",
        "Pain leads.",
        "MDT decided: recommended",
        "Summary sent to the referrer",
        "Kim Referrer",
        "Central Cancer Hospital: Angio-CT suite 1",
        "8 before the procedure, 3 on day 7",
        ">SE<",
    )
    for told in story:
        assert told in page
    assert "<b>" not in page


async def test_every_page_is_free_of_inline_script_and_style_and_says_so(
    board_url: str, client: httpx.AsyncClient, handler: EventHandler
) -> None:
    await take(handler, whole_loop(Referral(EventSource(), "a")))
    for path in (
        "/",
        "/cases/a",
        "/stages/closed",
        "/board/columns",
        "/board/cards/a",
        "/login",
        "/cases/none",
    ):
        response = await client.get(f"{board_url}{path}", headers=PAGE)
        assert response.headers["content-security-policy"].startswith("default-src 'self'")
        assert response.headers["cache-control"] == "no-store"
        assert not re.search(r"<style|style=|\son[a-z]+=|<script(?![^>]*\ssrc=)", response.text)
        assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", response.text)


async def test_an_unknown_case_is_a_page_for_people_and_an_outcome_for_programs(
    board_url: str, client: httpx.AsyncClient
) -> None:
    page = await client.get(f"{board_url}/cases/none", headers=PAGE)
    outcome = await client.get(f"{board_url}/cases/none", headers={"accept": "application/json"})
    assert (page.status_code, outcome.status_code) == (404, 404)
    assert "There is no case with this id" in page.text
    assert outcome.json()["issue"][0]["code"] == "not-found"


@pytest.mark.parametrize(
    "headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}, {"origin": "null"}]
)
async def test_a_form_from_another_site_is_refused(
    board_url: str, client: httpx.AsyncClient, handler: EventHandler, headers: dict[str, str]
) -> None:
    await take(handler, list(Referral(EventSource(), "a").refer()))
    form = {"task": "a-approve", "version": "1", "decision": "recommended", "rationale": "x"}
    response = await client.post(f"{board_url}/cases/a/decision", data=form, headers=headers)
    assert response.status_code == 403


@pytest.mark.parametrize(
    "content_type", ["text/plain", "multipart/form-data; boundary=x", "application/json"]
)
async def test_only_a_plain_form_is_read(
    board_url: str, client: httpx.AsyncClient, handler: EventHandler, content_type: str
) -> None:
    await take(handler, list(Referral(EventSource(), "a").refer()))
    url = f"{board_url}/cases/a/decision"
    assert (await client.post(url, content=b"x", headers={"content-type": content_type})).status_code == 415


async def test_ready_names_each_dependency(board_url: str, client: httpx.AsyncClient) -> None:
    answer = (await client.get(f"{board_url}/ready")).json()
    assert (answer["database"], answer["status"]) == ("ok", "ready")


class Issuer:
    """Signs tokens; its keys are in a file."""

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP384R1())
        public = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        self.keys = folder / "keys.json"
        self.keys.write_text(json.dumps({"keys": [{**public, "kid": "k", "alg": "ES384"}]}))

    def token(self, scope: str = "system/*.cruds", seconds: int = 120) -> str:
        now = datetime.now(UTC)
        claims = {
            "iss": "https://kanwa.example/auth",
            "aud": "https://kanwa.example/fhir",
            "sub": "board",
            "client_id": "board",
            "iat": now,
            "exp": now + timedelta(seconds=seconds),
            "scope": scope,
        }
        return jwt.encode(claims, self._key, algorithm="ES384", headers={"kid": "k"})


async def test_signing_in_opens_the_board_and_signing_out_closes_it(
    settings: MdtSettings, client: httpx.AsyncClient, free_port: Callable[[], int], tmp_path: Path
) -> None:
    issuer = Issuer(tmp_path)
    given = settings.model_dump() | {"auth_mode": "jwt", "auth_jwks_file": issuer.keys}
    async with served(create_app(MdtSettings(**given)), free_port()) as url:
        stranger = await client.get(url, headers=PAGE)
        assert stranger.status_code == 303
        assert stranger.headers["location"].startswith("/login")
        assert (await client.get(f"{url}/events")).status_code == 401
        refused = await client.post(f"{url}/login", data={"token": "no-token"})
        assert refused.status_code == 401
        assert "signed JWT" in refused.text
        weak = {"token": issuer.token(scope="system/Patient.rs")}
        await client.post(f"{url}/login", data=weak)
        assert (await client.get(url, headers=PAGE)).status_code == 403
        entered = await client.post(f"{url}/login", data={"token": issuer.token(), "next": "//evil.example"})
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert (await client.get(url, headers=PAGE)).status_code == 200
        await client.post(f"{url}/logout", headers={"origin": url})
        assert (await client.get(url, headers=PAGE)).status_code == 303


async def test_a_stream_ends_when_the_callers_token_does(
    settings: MdtSettings, client: httpx.AsyncClient, free_port: Callable[[], int], tmp_path: Path
) -> None:
    issuer = Issuer(tmp_path)
    given = settings.model_dump() | {"auth_mode": "jwt", "auth_jwks_file": issuer.keys}
    async with served(create_app(MdtSettings(**given)), free_port()) as url:
        headers = {"authorization": f"Bearer {issuer.token(seconds=2)}"}
        async with asyncio.timeout(20), client.stream("GET", f"{url}/events", headers=headers) as response:
            assert response.status_code == 200
            assert [line async for line in response.aiter_lines() if line.startswith("data")] == []

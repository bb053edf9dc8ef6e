"""What every request meets before an application: size limit, ids, browser's cookie, headers, logs."""

import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

import httpx
import pytest

from kanwa_shared.security.access import LOGIN_PATH
from kanwa_shared.trace_context import TraceContext
from tests.support.authorization import BODY_LIMIT, AuthorizationServer, application, serving

PATH = "/fhir/ServiceRequest"
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
async def client(serve: Any, authorization: AuthorizationServer) -> httpx.AsyncClient:
    made: httpx.AsyncClient = await serve(auth_jwks_file=authorization.file)
    made.headers["authorization"] = f"Bearer {authorization.token()}"
    return made


async def test_a_body_at_the_limit_is_taken(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, content=b"x" * BODY_LIMIT)
    assert answer.json()["length"] == BODY_LIMIT


async def test_a_body_that_announces_too_much_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(PATH, content=b"x" * (BODY_LIMIT + 1))
    assert answer.status_code == 413
    assert answer.json()["issue"][0]["code"] == "too-long"


async def test_a_body_that_grows_beyond_the_limit_is_refused_while_it_comes(
    client: httpx.AsyncClient,
) -> None:
    sent = 0

    async def endless() -> AsyncGenerator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 1024
            yield b"x" * 1024

    answer = await client.post(PATH, content=endless())
    assert (answer.status_code, answer.json()["resourceType"]) == (413, "OperationOutcome")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("url", [f"{PATH}?a=%00", f"{PATH}?x=1&b%00=", f"{PATH}/a%00b", "/%00"])
async def test_a_nul_character_in_a_url_reaches_no_application(client: httpx.AsyncClient, url: str) -> None:
    answer = await client.get(url)
    assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome")
    assert answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_request_keeps_its_id_and_its_trace(client: httpx.AsyncClient) -> None:
    sent = {"x-request-id": "ehr-17.a_b", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    answer = await client.get(PATH, headers=sent)
    assert answer.headers["x-request-id"] == answer.json()["request"] == "ehr-17.a_b"
    continued = TraceContext.parse(answer.json()["traceparent"])
    assert continued is not None
    assert (continued.trace_id, continued.span_id != "b7ad6b7169203331") == (TRACE, True)


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "Yamada/Hanako", '"}'])
async def test_a_request_id_that_could_forge_a_log_line_is_replaced(
    client: httpx.AsyncClient, given: str
) -> None:
    answer = await client.get(PATH, headers={"x-request-id": given})
    assert len(answer.headers["x-request-id"]) == 32


async def test_a_refusal_has_a_request_id_too(client: httpx.AsyncClient) -> None:
    answer = await client.get(PATH, headers={"authorization": "Bearer x", "x-request-id": "r-9"})
    assert (answer.status_code, answer.headers["x-request-id"]) == (401, "r-9")


class TestBrowser:
    """A browser holds the token in a cookie."""

    @pytest.fixture
    async def browser(self, serve: Any, authorization: AuthorizationServer) -> httpx.AsyncClient:
        made: httpx.AsyncClient = await serve(auth_jwks_file=authorization.file)
        made.headers["cookie"] = f"theme=dark; kanwa_token={authorization.token()}"
        return made

    async def test_its_cookie_opens_the_board(self, browser: httpx.AsyncClient) -> None:
        answer = await browser.get("/", headers={"accept": "text/html"})
        assert (answer.status_code, answer.text) == (200, "<p>board</p>")
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"

    async def test_without_one_it_is_sent_to_sign_in(self, browser: httpx.AsyncClient) -> None:
        del browser.headers["cookie"]
        answer = await browser.get("/cases/1?tab=2", headers={"accept": "text/html,*/*"})
        assert answer.status_code == 303
        assert answer.headers["location"] == f"{LOGIN_PATH}?next=/cases/1%3Ftab%3D2"
        for header in ({"sec-fetch-mode": "cors"}, {"x-kanwa-fragment": "1"}):
            part = await browser.get("/board/columns", headers={"accept": "text/html", **header})
            assert part.status_code == 401
        assert (await browser.get(PATH, headers={"accept": "text/html,*/*"})).status_code == 401

    @pytest.mark.parametrize(
        "sent",
        [
            {},
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
            {"sec-fetch-site": "none"},
        ],
        ids=str,
    )
    async def test_a_write_from_another_site_is_refused(
        self, browser: httpx.AsyncClient, sent: dict[str, str]
    ) -> None:
        answer = await browser.post("/fhir/Task", headers=sent, json={})
        assert (answer.status_code, answer.json()["issue"][0]["code"]) == (403, "forbidden")

    async def test_a_write_from_our_own_page_is_taken(self, browser: httpx.AsyncClient) -> None:
        own = str(browser.base_url).rstrip("/")
        assert (await browser.post("/fhir/Task", headers={"origin": own}, json={})).status_code == 200
        same = {"sec-fetch-site": "same-origin"}
        assert (await browser.post("/fhir/Task", headers=same, json={})).status_code == 200


class TestOpen:
    """Authentication is off."""

    @pytest.fixture
    async def opened(self, serve: Any) -> httpx.AsyncClient:
        return await serve(auth_mode="open")

    async def test_everybody_on_this_machine_is_anonymous(self, opened: httpx.AsyncClient) -> None:
        assert (await opened.post("/fhir/Task", json={})).json()["caller"] == "anonymous"

    @pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:80", "intake", "kanwa.example"])
    async def test_names_that_only_lead_here_are_answered(self, opened: httpx.AsyncClient, host: str) -> None:
        assert (await opened.get(PATH, headers={"host": host})).status_code == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "127.0.0.1.evil.example:80", "kanwa.example.evil.example"]
    )
    async def test_a_name_that_another_site_pointed_here_is_not_answered(
        self, opened: httpx.AsyncClient, host: str
    ) -> None:
        answer = await opened.get(PATH, headers={"host": host})
        assert (answer.status_code, answer.json()["resourceType"]) == (403, "OperationOutcome")


async def test_metrics_are_for_the_inside_alone(serve: Any, authorization: AuthorizationServer) -> None:
    client = await serve(auth_jwks_file=authorization.file)
    assert "kanwa_http_requests_total" in (await client.get("/metrics")).text
    assert (await client.get("/metrics", headers={"x-forwarded-for": "203.0.113.9"})).status_code == 401
    outside = await serve(auth_jwks_file=authorization.file, metrics_networks="10.0.0.0/8")
    assert (await outside.get("/metrics")).status_code == 401
    bearer = {"authorization": f"Bearer {authorization.token(scope='')}"}
    assert (await outside.get("/metrics", headers=bearer)).status_code == 200


async def test_the_log_of_requests_holds_no_path_query_body_or_message(
    serve: Any, authorization: AuthorizationServer, log_stream: Any
) -> None:
    client = await serve(auth_jwks_file=authorization.file)
    bearer = {"authorization": f"Bearer {authorization.token()}", "x-request-id": "r-1"}
    await client.get("/fhir/Patient?name=Yamada&birthdate=1948-03-02", headers=bearer)
    await client.put("/fhir/Patient/Yamada", headers=bearer, json={"family": "Yamada"})
    await client.get("/fhir/Patient?name=Yamada", headers={"authorization": "Bearer Yamada"})
    failed = await client.get("/fail?name=Yamada", headers=bearer)
    assert failed.status_code == 500
    text = log_stream.getvalue()
    entries = [json.loads(line) for line in text.splitlines()]
    assert [word for word in ("Yamada", "Hanako", "1948") if word in text] == []
    requests = [entry for entry in entries if entry["event"] == "request"]
    assert [entry["status"] for entry in requests] == [200, 200, 401, 500]
    assert requests[0].items() >= {"method": "GET", "caller": "ehr", "request_id": "r-1"}.items()
    assert {entry["route"] for entry in requests} == {"/fhir/{rest:path}", "/fail", "unrouted"}
    assert len(requests[0]["trace_id"]) == 32
    assert "RuntimeError" in text


async def test_two_applications_of_one_process_count_beside_each_other(
    free_port: Callable[[], int], authorization: AuthorizationServer
) -> None:
    from kanwa_shared.security.protection import protect
    from tests.support.authorization import settings_of

    for service in ("one", "two"):
        app, port = application(), free_port()
        protect(app, settings_of(auth_mode="open"), service=service)
        async with serving(app, port), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            await client.get("/fhir/Task")
            text = (await client.get("/metrics")).text
            assert (
                f'kanwa_http_requests_total{{method="GET",route="/fhir/{{rest:path}}",service="{service}"'
                in text
            )

"""Tokens over real HTTP: which are let in, which are not, and what the refusal says."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from kanwa_shared.security.keys import generate_keys, make_private_key, public_jwk, sign_token
from tests.support.authorization import AUDIENCE, ISSUER, AuthorizationServer, serving
from tests.support.waiting import until

PATH = "/fhir/ServiceRequest"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def refusal(answer: httpx.Response, status: int) -> str:
    """The diagnostics of a refusal that is one in every respect."""
    outcome = answer.json()
    assert (answer.status_code, outcome["resourceType"]) == (status, "OperationOutcome"), answer.text
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert answer.headers["cache-control"] == "no-store"
    if status == 401:
        assert answer.headers["www-authenticate"].startswith('Bearer realm="kanwa"')
        assert outcome["issue"][0]["code"] == "login"
    return outcome["issue"][0]["diagnostics"]


@pytest.fixture
async def client(serve: Any, authorization: AuthorizationServer) -> httpx.AsyncClient:
    return await serve(auth_jwks_file=authorization.file)


@pytest.mark.parametrize("key", ["first", "rsa"], ids=["ES384", "RS384"])
async def test_a_token_of_either_algorithm_names_its_caller(
    client: httpx.AsyncClient, authorization: AuthorizationServer, key: str
) -> None:
    answer = await client.get(PATH, headers=bearer(authorization.token(key, client_id="pacs", jti="t-1")))
    assert answer.status_code == 200
    assert (answer.json()["caller"], answer.json()["token"]) == ("pacs", "t-1")


async def test_a_token_that_names_its_client_only_as_subject_is_taken(
    client: httpx.AsyncClient, authorization: AuthorizationServer
) -> None:
    answer = await client.get(PATH, headers=bearer(authorization.token(client_id=..., sub="ris")))
    assert answer.json()["caller"] == "ris"


async def test_without_a_token_the_answer_says_what_to_send(client: httpx.AsyncClient) -> None:
    answer = await client.get(PATH)
    assert "Authorization: Bearer" in refusal(answer, 401)
    assert answer.headers["www-authenticate"] == 'Bearer realm="kanwa"'


class SecondsFromNow(int):
    """A moment that is reckoned when its test runs: a whole run is longer than a token lives."""


def at_this_moment(claims: dict[str, Any]) -> dict[str, Any]:
    now = int(time.time())
    return {
        name: now + value if isinstance(value, SecondsFromNow) else value for name, value in claims.items()
    }


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("expired", {"iat": SecondsFromNow(-400), "exp": SecondsFromNow(-100)}, "expired"),
    ("not valid yet", {"nbf": SecondsFromNow(200)}, "not valid yet"),
    ("issued in the future", {"iat": SecondsFromNow(200), "exp": SecondsFromNow(300)}, "not valid yet"),
    ("for another audience", {"aud": "https://other.example/fhir"}, "audience"),
    ("for no audience", {"aud": ...}, "'aud'"),
    ("from another issuer", {"iss": ISSUER + "/other"}, "issuer"),
    ("from no issuer", {"iss": ...}, "'iss'"),
    ("without an end", {"exp": ...}, "'exp'"),
    ("without a beginning", {"iat": ...}, "'iat'"),
    ("living an hour", {"exp": SecondsFromNow(3600)}, "300 s"),
    ("ending before it begins", {"iat": SecondsFromNow(20), "exp": SecondsFromNow(10)}, "300 s"),
    ("ending in no number", {"exp": "soon"}, "claims"),
    ("ending never", {"exp": 1e999}, "claims"),
    ("naming nobody", {"sub": ..., "client_id": ...}, "client"),
    ("naming a line break", {"client_id": "ehr\r\nadmin"}, "client"),
]


@pytest.mark.parametrize(
    ("changed", "word"), [(c, w) for _, c, w in WRONG], ids=[name for name, _, _ in WRONG]
)
async def test_a_token_that_breaks_a_rule_is_refused_with_the_rule(
    client: httpx.AsyncClient, authorization: AuthorizationServer, changed: dict[str, Any], word: str
) -> None:
    answer = await client.get(PATH, headers=bearer(authorization.token(**at_this_moment(changed))))
    assert word in refusal(answer, 401)
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_several_audiences_may_stand_in_a_token(
    client: httpx.AsyncClient, authorization: AuthorizationServer
) -> None:
    token = authorization.token(aud=["https://other.example", AUDIENCE])
    assert (await client.get(PATH, headers=bearer(token))).status_code == 200


def encoded(part: object) -> str:
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def forged(authorization: AuthorizationServer, header: dict[str, Any]) -> str:
    """Signed with HMAC over the public key, the classic confusion of algorithms."""
    signed = f"{encoded(header)}.{encoded(authorization.claims())}"
    key, _ = authorization.keys["rsa"]
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{signed}.{encoded(hmac.new(public, signed.encode(), hashlib.sha384).digest())}"


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "HS256", "HS384", "RS256", "ES256", "EdDSA", "", None, 7]
)
async def test_another_algorithm_than_the_two_is_refused(
    client: httpx.AsyncClient, authorization: AuthorizationServer, algorithm: object
) -> None:
    kid = public_jwk(*authorization.keys["rsa"])["kid"]
    header = {"alg": algorithm, "kid": kid, "typ": "JWT"}
    assert refusal(await client.get(PATH, headers=bearer(forged(authorization, header))), 401)
    unsigned = f"{encoded(header)}.{encoded(authorization.claims())}."
    assert refusal(await client.get(PATH, headers=bearer(unsigned)), 401)


async def test_a_key_signs_only_with_its_own_algorithm(
    client: httpx.AsyncClient, authorization: AuthorizationServer
) -> None:
    header = {"alg": "ES384", "kid": public_jwk(*authorization.keys["rsa"])["kid"]}
    answer = await client.get(PATH, headers=bearer(forged(authorization, header)))
    assert "kid and alg" in refusal(answer, 401)


async def test_a_stranger_with_a_known_kid_is_refused(
    client: httpx.AsyncClient, authorization: AuthorizationServer
) -> None:
    import jwt

    kid = public_jwk(*authorization.keys["first"])["kid"]
    stranger = jwt.encode(
        authorization.claims(), make_private_key("ES384"), algorithm="ES384", headers={"kid": kid}
    )
    assert "signature" in refusal(await client.get(PATH, headers=bearer(stranger)), 401)


async def test_a_key_inside_the_token_is_not_believed(
    client: httpx.AsyncClient, authorization: AuthorizationServer
) -> None:
    import jwt

    key = make_private_key("ES384")
    headers = {"kid": "mine", "jwk": public_jwk(key, "ES384"), "jku": "http://127.0.0.1/jwks.json"}
    token = jwt.encode(authorization.claims(), key, algorithm="ES384", headers=headers)
    assert "kid and alg" in refusal(await client.get(PATH, headers=bearer(token)), 401)


@pytest.mark.parametrize(
    "value",
    [
        "Bearer",
        "Basic ZWhyOnNlY3JldA==",
        "Bearer a.b.c",
        "Bearer " + "x" * 20000,
        "Bearer ....",
        "Bearer \xff\xfe",
        f"Bearer {encoded([1])}.{encoded([1])}.",
        f"Bearer {encoded({'alg': 'ES384', 'kid': ['x']})}.e30.x",
        f"Bearer {encoded(b'[' * 3000)}.e30.x",
    ],
)
async def test_what_is_no_token_is_refused_and_not_a_fault(client: httpx.AsyncClient, value: str) -> None:
    answer = await client.get(PATH, headers={"authorization": value.encode("latin-1")})
    assert refusal(answer, 401)


async def test_a_missing_scope_is_named(
    client: httpx.AsyncClient, authorization: AuthorizationServer
) -> None:
    token = authorization.token(scope="system/ServiceRequest.rs system/Task.cruds")
    assert (await client.get(PATH, headers=bearer(token))).status_code == 200
    answer = await client.post(PATH, headers=bearer(token), json={})
    assert "system/ServiceRequest.c" in refusal(answer, 403)
    assert 'scope="system/ServiceRequest.c"' in answer.headers["www-authenticate"]
    assert (await client.post("/fhir/Appointment/$find", headers=bearer(token))).status_code == 403
    assert (await client.post("/fhir/Task", headers=bearer(token), json={})).status_code == 200


@pytest.mark.parametrize(
    "path", ["/health", "/ready", "/fhir/metadata", "/fhir/.well-known/smart-configuration", "/cds-services"]
)
async def test_how_to_get_in_is_told_to_everybody(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["caller"]) == (200, None)


async def test_a_new_key_is_known_within_seconds_and_a_withdrawn_one_no_longer(
    client: httpx.AsyncClient, authorization: AuthorizationServer
) -> None:
    authorization.add_key("second")
    fresh = authorization.token("second")

    async def is_let_in() -> bool:
        return (await client.get(PATH, headers=bearer(fresh))).status_code == 200

    await until(is_let_in, what="the new key")
    old = authorization.token("first")
    del authorization.keys["first"]
    authorization.publish()

    async def is_refused() -> bool:
        return (await client.get(PATH, headers=bearer(old))).status_code == 401

    await until(is_refused, what="the withdrawal of the old key")
    assert (await client.get(PATH, headers=bearer(fresh))).status_code == 200


async def test_a_broken_key_file_leaves_the_known_keys_in_use(
    client: httpx.AsyncClient, authorization: AuthorizationServer
) -> None:
    assert (await client.get(PATH, headers=bearer(authorization.token()))).status_code == 200
    authorization.file.write_text('{"keys": [')
    end = time.monotonic() + 1.5

    async def still_let_in() -> bool:
        answer = await client.get(PATH, headers=bearer(authorization.token()))
        assert answer.status_code == 200
        return time.monotonic() > end

    await until(still_let_in)


async def test_while_no_key_was_ever_read_the_answer_is_to_try_again(
    serve: Any, authorization: AuthorizationServer, tmp_path: Path
) -> None:
    client = await serve(auth_jwks_file=tmp_path / "absent.json")
    answer = await client.get(PATH, headers=bearer(authorization.token()))
    assert "keys" in refusal(answer, 503)


class JwksUrl:
    """Serves a JWKS, counts who asks, fails when told to."""

    def __init__(self, authorization: AuthorizationServer):
        self.asked = 0
        self.status = 200
        self._authorization = authorization

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        body = self._authorization.file.read_bytes()
        headers = [(b"content-type", b"application/json"), (b"location", b"http://127.0.0.1:1/other")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def test_keys_come_from_a_url_and_made_up_kids_do_not_flood_it(
    serve: Any, authorization: AuthorizationServer, free_port: Callable[[], int]
) -> None:
    port, source = free_port(), JwksUrl(authorization)
    async with serving(source, port):
        client = await serve(auth_jwks_url=f"http://127.0.0.1:{port}/jwks.json")
        for key in ("first", "rsa", "first"):
            assert (await client.get(PATH, headers=bearer(authorization.token(key)))).status_code == 200
        assert source.asked == 1
        for _ in range(20):
            stranger = sign_token(make_private_key("ES384"), "ES384", authorization.claims())
            refusal(await client.get(PATH, headers=bearer(stranger)), 401)
        assert source.asked == 1


async def test_a_url_that_redirects_or_fails_lets_nobody_in(
    serve: Any, authorization: AuthorizationServer, free_port: Callable[[], int]
) -> None:
    port, source = free_port(), JwksUrl(authorization)
    source.status = 302
    async with serving(source, port):
        client = await serve(auth_jwks_url=f"http://127.0.0.1:{port}/jwks.json")
        refusal(await client.get(PATH, headers=bearer(authorization.token())), 503)
        refusal(await client.get(PATH, headers=bearer(authorization.token("rsa"))), 503)
        assert source.asked == 1


async def test_generated_keys_are_private_and_stay_the_same(tmp_path: Path) -> None:
    public, private = tmp_path / "public", tmp_path / "private"
    jwks = generate_keys(public, private_folder=private)
    first = jwks.read_bytes()
    assert sorted(path.name for path in private.iterdir()) == ["ES384.pem", "RS384.pem"]
    assert {path.stat().st_mode & 0o777 for path in private.iterdir()} == {0o600}
    assert [path.name for path in public.iterdir()] == ["jwks.json"]
    assert b'"d"' not in first
    assert generate_keys(public, private_folder=private).read_bytes() == first


async def test_a_token_minted_for_trying_opens_what_its_scope_says(serve: Any, tmp_path: Path) -> None:
    from datetime import UTC, datetime, timedelta

    from kanwa_shared.security.keys import mint_token

    client = await serve(auth_jwks_file=generate_keys(tmp_path))
    given: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "now": datetime.now(UTC),
        "life": timedelta(minutes=5),
    }
    for algorithm in ("ES384", "RS384"):
        token = mint_token(tmp_path, "trial", "system/Task.rs", algorithm=algorithm, **given)
        assert (await client.get("/fhir/Task", headers=bearer(token))).json()["caller"] == "trial"
        assert (await client.get("/fhir/Patient", headers=bearer(token))).status_code == 403

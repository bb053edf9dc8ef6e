"""Keys from a URL over hours, and which keys of a set may be used."""

import json
from typing import Any

import httpx
import pytest

from kanwa_shared.errors import Unavailable
from kanwa_shared.security import key_source
from kanwa_shared.security.key_set import UnusableKeySetError, parse_key_set
from kanwa_shared.security.key_source import UrlKeys
from kanwa_shared.security.keys import make_private_key, public_jwk


def jwk(**changed: Any) -> dict[str, Any]:
    members = {**public_jwk(make_private_key("ES384"), "ES384"), **changed}
    return {name: value for name, value in members.items() if value is not ...}


class Server:
    """A JWKS URL and a clock."""

    def __init__(self) -> None:
        self.keys = [jwk(kid="one")]
        self.status = 200
        self.asked = 0
        self.now = 1000.0
        self.source = UrlKeys(
            "https://hospital.example/jwks", transport=httpx.MockTransport(self), clock=lambda: self.now
        )

    def __call__(self, _: httpx.Request) -> httpx.Response:
        self.asked += 1
        return httpx.Response(self.status, json={"keys": self.keys})

    async def knows(self, kid: str) -> bool:
        found = (await self.source.current()).find(kid, "ES384")
        return (found or (await self.source.renewed()).find(kid, "ES384")) is not None


async def test_keys_are_asked_for_once_in_five_minutes() -> None:
    server = Server()
    for second in range(0, 300, 20):
        server.now = 1000.0 + second
        assert await server.knows("one")
    assert server.asked == 1
    server.now = 1300.0
    assert await server.knows("one")
    assert server.asked == 2


async def test_the_same_keys_stay_the_same_object_and_other_keys_do_not() -> None:
    server = Server()
    first = await server.source.current()
    server.now += key_source.FRESH_SECONDS
    assert await server.source.current() is first
    server.keys = [jwk(kid="two")]
    server.now += key_source.FRESH_SECONDS
    assert await server.source.current() is not first


async def test_an_unknown_kid_is_looked_for_at_once_but_not_more_often_than_every_ten_seconds() -> None:
    server = Server()
    assert not await server.knows("two")
    server.keys.append(jwk(kid="two"))
    server.now += 9
    assert not await server.knows("two")
    assert server.asked == 1
    server.now += 1
    assert await server.knows("two")
    for _ in range(50):
        assert not await server.knows("made-up")
    assert server.asked == 2


async def test_keys_outlive_a_server_that_is_away_for_an_hour_and_no_longer() -> None:
    server = Server()
    assert await server.knows("one")
    server.status = 503
    server.now = 1000.0 + key_source.FRESH_SECONDS + key_source.STALE_SECONDS - 1
    assert await server.knows("one")
    server.now += 2
    with pytest.raises(Unavailable):
        await server.source.current()
    server.status = 200
    server.now += key_source.ASK_AGAIN_SECONDS
    assert await server.knows("one")


async def test_a_withdrawn_key_is_gone_at_the_next_look() -> None:
    server = Server()
    assert await server.knows("one")
    server.keys = [jwk(kid="two")]
    server.now += key_source.FRESH_SECONDS
    assert not await server.knows("one")


async def test_an_endless_document_is_not_read_to_its_end() -> None:
    server = Server()
    server.keys = [jwk(kid="one", x5c=["x" * key_source.DOCUMENT_BYTES_MAX])]
    with pytest.raises(Unavailable):
        await server.source.current()


@pytest.mark.parametrize(
    "unusable",
    [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "a"},
        jwk(kid=...),
        jwk(kid=7),
        jwk(d="AAAA"),
        jwk(use="enc"),
        jwk(alg="ES256"),
        jwk(key_ops=["sign"]),
        jwk(key_ops=5),
        jwk(crv="P-256"),
        jwk(x="not base64 %"),
        jwk(kty="RSA"),
        "text",
        None,
    ],
)
def test_a_key_that_may_not_sign_tokens_is_left_out(unusable: Any) -> None:
    with pytest.raises(UnusableKeySetError):
        parse_key_set(json.dumps({"keys": [unusable]}).encode())
    usable = jwk(kid="good")
    assert list(parse_key_set(json.dumps({"keys": [unusable, usable]}).encode()).keys) == [("good", "ES384")]


def test_a_short_rsa_key_is_left_out() -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    short = public_jwk(rsa.generate_private_key(public_exponent=65537, key_size=1024), "RS384")  # noqa: S505  # the point
    with pytest.raises(UnusableKeySetError):
        parse_key_set(json.dumps({"keys": [short]}).encode())


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": 1}', b'{"keys": []}', b"\xff", b"null"])
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(UnusableKeySetError):
        parse_key_set(document)


def test_more_keys_than_anybody_needs_are_refused() -> None:
    with pytest.raises(UnusableKeySetError, match="64"):
        parse_key_set(json.dumps({"keys": [{}] * 65}).encode())

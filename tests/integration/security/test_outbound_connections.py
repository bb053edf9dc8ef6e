"""Connections to chosen endpoints: the certificate is the name's, the address is one that was checked."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fastapi import FastAPI

from kanwa_shared.security.outbound import (
    Address,
    CheckedTransport,
    TargetPolicy,
    TargetRefused,
    verifying_context,
)
from tests.support.mdt_server import serving_on

NAME = "subscriber.test"
LOOPBACK = TargetPolicy.of("127.0.0.0/8")


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate of `NAME`, which is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


@pytest.fixture
async def served(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[tuple[int, Path]]:
    """An https server that has the certificate of `NAME`: its port, and the certificate."""
    paths, port, app = certificate(tmp_path), free_port(), FastAPI()

    @app.get("/")
    async def answer() -> str:
        return "here"

    config = uvicorn.Config(
        app, port=port, log_level="warning", ssl_certfile=paths[0], ssl_keyfile=str(paths[1])
    )
    async with serving_on(config):
        yield port, paths[0]


@asynccontextmanager
async def client(context: ssl.SSLContext, *answers: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    """A client for whom each look for a name's addresses finds the next of `answers`, the last one again and again."""
    left = list(answers)

    async def resolver(_host: str, _port: int) -> list[Address]:
        return [ip_address(text) for text in (left.pop(0) if len(left) > 1 else left[0])]

    async with httpx.AsyncClient(transport=CheckedTransport(LOOPBACK, context, resolver)) as made:
        yield made


async def test_a_certificate_is_verified_for_the_name_not_for_the_address(served: tuple[int, Path]) -> None:
    port, authority = served
    async with client(verifying_context(authority), ["127.0.0.1"]) as known:
        assert (await known.get(f"https://{NAME}:{port}/")).json() == "here"
        # Its connection is open, leads to the same address, and is another name's.
        with pytest.raises(ValueError, match="another host"):
            await known.get(f"https://another.test:{port}/")
    async with client(verifying_context(authority), ["127.0.0.1"]) as other:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await other.get(f"https://another.test:{port}/")


async def test_a_certificate_of_an_unknown_authority_is_refused(served: tuple[int, Path]) -> None:
    async with client(verifying_context(), ["127.0.0.1"]) as unknowing:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await unknowing.get(f"https://{NAME}:{served[0]}/")


async def test_a_name_that_changes_its_address_is_judged_anew(served: tuple[int, Path]) -> None:
    port, authority = served
    async with client(verifying_context(authority), ["127.0.0.1"], ["10.0.0.1"]) as rebound:
        assert (await rebound.get(f"https://{NAME}:{port}/")).is_success
        with pytest.raises(TargetRefused):
            await rebound.get(f"https://{NAME}:{port}/")


async def test_one_refused_address_among_several_spoils_the_name(served: tuple[int, Path]) -> None:
    async with client(verifying_context(served[1]), ["127.0.0.1", "169.254.169.254"]) as mixed:
        with pytest.raises(TargetRefused):
            await mixed.get(f"https://{NAME}:{served[0]}/")

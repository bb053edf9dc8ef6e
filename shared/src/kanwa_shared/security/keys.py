"""Key pairs and tokens for trying kanwa; a hospital's authorization server makes its own."""

import os
from base64 import urlsafe_b64encode
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal, cast
from uuid import uuid4

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

Algorithm = Literal["ES384", "RS384"]
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

JWKS_FILE: Final = "jwks.json"
#: NIST SP 800-57: 3072 bits are as strong as 128 bits of a symmetric key.
RSA_BITS: Final = 3072
_ALGORITHMS: Final[tuple[Algorithm, ...]] = ("ES384", "RS384")
_PRIVATE_MODE: Final = 0o600
_PUBLIC_MODE: Final = 0o644


def generate_keys(folder: Path, *, private_folder: Path | None = None) -> Path:
    """Write an ES384 and an RS384 private key and the JWK Set of their public halves, unless they are there.

    `folder` gets jwks.json, `private_folder` (by default the same) gets `ES384.pem` and `RS384.pem` with mode
    0600: a service that checks tokens needs only the first. Returns the path of jwks.json. Raises OSError.
    """
    private = private_folder or folder
    private.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(parents=True, exist_ok=True)
    public = [public_jwk(_load_or_make(private, algorithm), algorithm) for algorithm in _ALGORITHMS]
    document, path = msgspec.json.format(msgspec.json.encode({"keys": public})), folder / JWKS_FILE
    if not path.exists() or path.read_bytes() != document:
        _write_whole(path, document, _PUBLIC_MODE)
    return path


def mint_token(
    folder: Path,
    client: str,
    scope: str,
    *,
    issuer: str,
    audience: str,
    now: datetime,
    life: timedelta,
    algorithm: Algorithm = "ES384",
) -> str:
    """An access token for `client`, signed with the private key in `folder`.

    `now` is aware. Raises FileNotFoundError where `generate_keys` has not written.
    """
    return sign_token(
        load_private_key(folder / f"{algorithm}.pem"),
        algorithm,
        {
            "iss": issuer,
            "aud": audience,
            "sub": client,
            "client_id": client,
            "scope": scope,
            "iat": int(now.timestamp()),
            "exp": int((now + life).timestamp()),
            "jti": str(uuid4()),
        },
    )


def sign_token(key: PrivateKey, algorithm: Algorithm, claims: dict[str, Any]) -> str:
    """A JWT with `claims` as they are; its kid is the key's thumbprint."""
    headers = {"kid": public_jwk(key, algorithm)["kid"], "typ": "JWT"}
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)


def make_private_key(algorithm: Algorithm) -> PrivateKey:
    """A new private key for the algorithm."""
    if algorithm == "ES384":
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)


def load_private_key(path: Path) -> PrivateKey:
    """A private key from its PEM file. Raises FileNotFoundError, ValueError for another kind."""
    key = load_pem_private_key(path.read_bytes(), password=None)
    if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        return key
    raise ValueError(f"{path.name} holds neither an EC nor an RSA key")


def public_jwk(key: PrivateKey, algorithm: Algorithm) -> dict[str, Any]:
    """The public half as a JWK; its kid is its thumbprint (RFC 7638), so a key keeps its kid."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        members: Any = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        members = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    jwk = cast("dict[str, Any]", members)
    required = {name: jwk[name] for name in sorted({"crv", "e", "kty", "n", "x", "y"} & jwk.keys())}
    thumbprint = urlsafe_b64encode(sha256(msgspec.json.encode(required)).digest()).rstrip(b"=").decode()
    return {**required, "kid": thumbprint, "use": "sig", "alg": algorithm, "key_ops": ["verify"]}


def _load_or_make(folder: Path, algorithm: Algorithm) -> PrivateKey:
    path = folder / f"{algorithm}.pem"
    if path.exists():
        return load_private_key(path)
    key = make_private_key(algorithm)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write_whole(path, pem, _PRIVATE_MODE)
    return key


def _write_whole(path: Path, content: bytes, mode: int) -> None:
    """Under another name first, so that nobody reads half a file, and never readable by others in between."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)

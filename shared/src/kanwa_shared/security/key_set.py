"""Public keys that may sign tokens: RS384 and ES384, as SMART Backend Services names them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

ALGORITHMS: Final = ("RS384", "ES384")
#: NIST SP 800-131A: RSA below 2048 bits is disallowed. Above 8192 a forged set would cost us time.
RSA_BITS: Final = range(2048, 8193)
KEYS_MAX: Final = 64

PublicKey = RSAPublicKey | EllipticCurvePublicKey


class UnusableKeySetError(Exception):
    """A document that is no JWK Set, or one without a key that kanwa may use; the message says why."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """Keys by (kid, algorithm)."""

    keys: Mapping[tuple[str, str], PublicKey]

    def find(self, kid: str, algorithm: str) -> PublicKey | None:
        """The key that a token's header names, None if there is none for that algorithm."""
        return self.keys.get((kid, algorithm))


def parse_key_set(document: bytes) -> KeySet:
    """Read a JWK Set (RFC 7517); keys that may not be used here are left out.

    Left out are symmetric and private keys, other curves and lengths, encryption keys and keys without a kid.
    Raises UnusableKeySetError if it is no set, holds more than 64 keys, or if nothing is left.
    """
    try:
        content: Any = msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnusableKeySetError("the document is not JSON") from error
    listed: Any = cast("dict[str, Any]", content).get("keys") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise UnusableKeySetError("the document has no array 'keys'")
    entries = cast("list[Any]", listed)
    if len(entries) > KEYS_MAX:
        raise UnusableKeySetError(f"the document holds {len(entries)} keys, and at most {KEYS_MAX} are read")
    keys = {name: key for name, key in map(_usable, entries) if name and key}
    if not keys:
        raise UnusableKeySetError("no key in it is for RS384 or ES384 and has a kid")
    return KeySet(keys)


def _usable(entry: Any) -> tuple[tuple[str, str] | None, PublicKey | None]:
    unusable = (None, None)
    if not isinstance(entry, dict):
        return unusable
    jwk = cast("dict[str, Any]", entry)
    kid = jwk.get("kid")
    algorithm = {"RSA": "RS384", "EC": "ES384"}.get(str(jwk.get("kty")))
    if not isinstance(kid, str) or not kid or algorithm is None or "d" in jwk:
        return unusable
    if jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithm) != algorithm:
        return unusable
    try:
        if "verify" not in jwk.get("key_ops", ["verify"]):
            return unusable
        key: Any = PyJWK.from_dict(jwk, algorithm).key
    except (PyJWTError, ValueError, TypeError):
        return unusable
    if isinstance(key, RSAPublicKey):
        return ((kid, algorithm), key) if key.key_size in RSA_BITS else unusable
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP384R1):
        return ((kid, algorithm), key)
    return unusable

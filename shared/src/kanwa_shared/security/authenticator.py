"""Bearer tokens: a JWT that a known key signed, for us, not long ago (SMART Backend Services, RFC 9068)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import jwt
from jwt.exceptions import (
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuedAtError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWTError,
)

from kanwa_shared.clock import utc_now
from kanwa_shared.errors import Unauthenticated
from kanwa_shared.security.caller import Caller
from kanwa_shared.security.key_set import ALGORITHMS, KeySet, PublicKey
from kanwa_shared.security.key_source import KeySource
from kanwa_shared.security.scopes import parse_scopes

TOKEN_LENGTH_MAX: Final = 16_384
CLIENT_ID_LENGTH_MAX: Final = 255
#: A checked token is not checked again for this long: a signature costs more than a small request.
REMEMBERED_SECONDS: Final = 60
REMEMBERED_MAX: Final = 2048
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_REFUSALS: Final[tuple[tuple[type[PyJWTError], str, str], ...]] = (
    (ExpiredSignatureError, "expired", "the token has expired; ask the authorization server for a new one"),
    (ImmatureSignatureError, "not-yet-valid", "the token is not valid yet; check the clocks"),
    (InvalidIssuedAtError, "issued-at", "the token's iat is no number"),
    (InvalidAudienceError, "audience", "the token is for another audience"),
    (InvalidIssuerError, "issuer", "the token is from another issuer"),
    (InvalidSignatureError, "signature", "the token's signature does not fit"),
)


class TokenRefused(Unauthenticated):
    """A token that does not prove who calls; `reason` is a word for metrics and logs."""

    def __init__(self, reason: str, diagnostics: str):
        super().__init__(diagnostics)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say: issuer and audience exactly; skew and lifetime in seconds."""

    issuer: str
    audience: str
    clock_skew_seconds: int = 30
    lifetime_max_seconds: int = 300


class Authenticator:
    """Turns a bearer token into the caller that it names."""

    def __init__(self, keys: KeySource, rules: TokenRules, *, now: Callable[[], datetime] = utc_now):
        self._keys = keys
        self._rules = rules
        self._now = now
        self._remembered: dict[bytes, tuple[Caller, datetime]] = {}
        self._remembered_with: KeySet | None = None

    async def authenticate(self, token: str) -> Caller:
        """The caller. Raises TokenRefused if the token is not valid, Unavailable while no key can be read."""
        keys = await self._keys.current()
        if keys is not self._remembered_with:
            self._remembered.clear()
            self._remembered_with = keys
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        now = self._now()
        known = self._remembered.get(digest)
        if known is not None and now < known[1]:
            return known[0]
        algorithm, key = await self._key_of(token, keys)
        claims = read_claims(token, key, algorithm, self._rules)
        caller = _caller(claims)
        self._remember(digest, caller, claims["exp"], now)
        return caller

    async def _key_of(self, token: str, keys: KeySet) -> tuple[str, PublicKey]:
        kid, algorithm = read_header(token)
        key = keys.find(kid, algorithm) or (await self._keys.renewed()).find(kid, algorithm)
        if key is None:
            raise TokenRefused("unknown-key", "no known key has the token's kid and alg")
        return algorithm, key

    def _remember(self, digest: bytes, caller: Caller, expires: float, now: datetime) -> None:
        if len(self._remembered) >= REMEMBERED_MAX:
            del self._remembered[next(iter(self._remembered))]
        ends = min(now.timestamp() + REMEMBERED_SECONDS, expires + self._rules.clock_skew_seconds)
        self._remembered[digest] = (caller, now + timedelta(seconds=ends - now.timestamp()))


def read_header(token: str) -> tuple[str, str]:
    """The kid and algorithm of a token's header, not verified. Raises TokenRefused if they will not do."""
    if len(token) > TOKEN_LENGTH_MAX:
        raise TokenRefused("malformed", f"the token is longer than {TOKEN_LENGTH_MAX} characters")
    try:
        header: dict[str, Any] = jwt.get_unverified_header(token)
    except (PyJWTError, ValueError, RecursionError) as error:
        raise TokenRefused("malformed", "the token is no signed JWT") from error
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise TokenRefused("algorithm", "the token's alg must be RS384 or ES384")
    if not isinstance(kid, str) or not kid:
        raise TokenRefused("unknown-key", "the token's header has no kid, so its key cannot be found")
    if str(header.get("typ", "JWT")).lower() not in _TYPES:
        raise TokenRefused("malformed", "the token's typ must be JWT or at+jwt")
    return kid, algorithm


def read_claims(token: str, key: PublicKey, algorithm: str, rules: TokenRules) -> dict[str, Any]:
    """The claims of a token that `key` signed, within `rules`. Raises TokenRefused saying which one fails."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=rules.audience,
            issuer=rules.issuer,
            leeway=rules.clock_skew_seconds,
            options={"require": ["exp", "iat", "iss", "aud"]},
        )
        lifetime = float(claims["exp"]) - float(claims["iat"])
    except MissingRequiredClaimError as error:
        raise TokenRefused("claims", f"the token has no claim '{error.claim}'") from error
    except (PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _refusal(error) from error
    if not 0 < lifetime <= rules.lifetime_max_seconds:
        raise TokenRefused(
            "lifetime",
            f"the token lives longer than {rules.lifetime_max_seconds} s, which is the most taken here",
        )
    return claims


def _refusal(error: Exception) -> TokenRefused:
    for kind, reason, diagnostics in _REFUSALS:
        if isinstance(error, kind):
            return TokenRefused(reason, diagnostics)
    return TokenRefused("malformed", "the token's claims cannot be read")


def _caller(claims: dict[str, Any]) -> Caller:
    """RFC 9068 names the client in `client_id`; some servers write `azp`, SMART's own example only `sub`."""
    client_id = next((claims[name] for name in ("client_id", "azp", "sub") if claims.get(name)), None)
    if not isinstance(client_id, str) or len(client_id) > CLIENT_ID_LENGTH_MAX or not client_id.isprintable():
        raise TokenRefused("claims", "the token names no client: it needs client_id, azp or sub")
    scope: Any = claims.get("scope", "")
    text = " ".join(map(str, scope)) if isinstance(scope, list) else str(scope)  # pyright: ignore[reportUnknownArgumentType]  # any JSON may stand there
    token_id = claims.get("jti")
    return Caller(client_id, parse_scopes(text), str(token_id) if token_id is not None else None)

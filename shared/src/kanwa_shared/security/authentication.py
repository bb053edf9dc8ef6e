"""ASGI: nothing gets to the application without a caller, except what is open to everybody."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from hmac import compare_digest
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import quote

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from kanwa_shared.errors import DomainError, Forbidden
from kanwa_shared.security.access import (
    EVENTS_PATH,
    LOGIN_PATH,
    METRICS_PATH,
    PEERS_PREFIX,
    check_access,
    required_access,
)
from kanwa_shared.security.authenticator import Authenticator, TokenRefused
from kanwa_shared.security.caller import ANONYMOUS, WORKER, Caller, InsufficientScope
from kanwa_shared.security.challenge import send_redirect, send_refusal
from kanwa_shared.telemetry import AUTHENTICATION_REFUSALS

log = structlog.get_logger(__name__)

COOKIE: Final = "kanwa_token"
#: In lower case, as headers arrive.
PEER_HEADER: Final = "kanwa-peer"
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})

Headers = Mapping[bytes, bytes]


class Authentication:
    """Puts the Caller into `scope["state"]["caller"]`, or answers 401 or 403 with an OperationOutcome.

    The token comes in `Authorization: Bearer …`, or in the HttpOnly cookie `kanwa_token` for a browser; a
    write with the cookie must come from a page of ours. Without an `authenticator` everybody is let in, which
    the settings allow on loopback alone; then the Host must be a name that no outsider's DNS can point here.
    `/metrics` is open to peers in `metrics_networks` that come without a proxy. Workers of other services read
    `/events` with `events_password`; the gateway lets nobody else reach that path of a service that owns resources.
    Below `/peers/` a service shows that password beside its caller's token.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        service: str,
        authenticator: Authenticator | None,
        public_host: str | None = None,
        metrics_networks: Sequence[str] = (),
        reading_operations: AbstractSet[str] = frozenset(),
        events_password: str | None = None,
    ):
        self._app = app
        self._service = service
        self._authenticator = authenticator
        self._public_host = public_host
        self._metrics_networks = [ip_network(network) for network in metrics_networks]
        self._reading_operations = reading_operations
        self._events_password = events_password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through or answer it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # kanwa has no WebSocket, so none goes past the check
        headers: Headers = dict(scope["headers"])
        try:
            caller = await self._admit(scope, headers)
        except DomainError as refusal:
            await self._refuse(scope, headers, send, refusal)
            return
        if caller is not None:
            scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope, headers: Headers) -> Caller | None:
        """The caller, None for an open path. Raises TokenRefused, Forbidden or Unavailable."""
        access = required_access(
            scope["method"],
            scope["path"],
            conditional=b"if-none-exist" in headers,
            reading_operations=self._reading_operations,
        )
        if self._authenticator is None:
            self._check_host(headers)
            return ANONYMOUS
        if access.open or (scope["path"] == METRICS_PATH and self._may_scrape(scope, headers)):
            return None
        if scope["path"].startswith(PEERS_PREFIX):
            self._check_peer(headers)
        token = _token(scope, headers)
        if self._is_worker(scope, token):
            return WORKER
        caller = await self._authenticator.authenticate(token)
        check_access(caller, access)
        return caller

    def _is_worker(self, scope: Scope, token: str) -> bool:
        """A worker of another service, which may read this one's event log."""
        if self._events_password is None or scope["path"] != EVENTS_PATH or scope["method"] != "GET":
            return False
        return compare_digest(token.encode(), self._events_password.encode())

    def _check_peer(self, headers: Headers) -> None:
        """Raise Forbidden unless one of kanwa's services asks, in the name of whoever the token names."""
        shown = headers.get(PEER_HEADER.encode(), b"")
        if self._events_password is None or not compare_digest(shown, self._events_password.encode()):
            raise Forbidden(
                "only kanwa's services ask this, of each other: set KANWA_EVENTS_PASSWORD to the same for all of them"
            )

    def _check_host(self, headers: Headers) -> None:
        """A page of another site can point its own name at 127.0.0.1 and read answers (DNS rebinding)."""
        host = _host_name(headers)
        if host == self._public_host or host.endswith(".localhost") or "." not in host or _is_address(host):
            return
        raise Forbidden(
            "authentication is off, so kanwa answers only to localhost and to addresses, not to names"
        )

    def _may_scrape(self, scope: Scope, headers: Headers) -> bool:
        if b"x-forwarded-for" in headers:
            return False
        peer: str | None = (scope.get("client") or (None,))[0]
        if peer is None:
            return True  # a unix socket or the same process
        if not _is_address(peer):
            return False
        address = ip_address(peer)
        return any(
            address in network for network in self._metrics_networks if network.version == address.version
        )

    async def _refuse(self, scope: Scope, headers: Headers, send: Send, refusal: DomainError) -> None:
        reason = _reason(refusal)
        AUTHENTICATION_REFUSALS.labels(self._service, reason).inc()
        log.info("request_refused", service=self._service, reason=reason)
        if isinstance(refusal, TokenRefused) and _wants_page(scope, headers):
            query = scope["query_string"].decode("latin-1")
            wanted = scope["path"] + (f"?{query}" if query else "")
            await send_redirect(send, f"{LOGIN_PATH}?next={quote(wanted)}")
        else:
            await send_refusal(send, refusal)


def _token(scope: Scope, headers: Headers) -> str:
    authorization = headers.get(b"authorization", b"").decode("latin-1")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    if authorization:
        raise TokenRefused("malformed", "the Authorization header must be 'Bearer' and a token")
    token = _cookie(headers)
    if not token:
        raise TokenRefused("missing", "send 'Authorization: Bearer' with a token of the authorization server")
    from_a_service = scope["path"].startswith(PEERS_PREFIX)  # which has shown its password
    if scope["method"] not in _SAFE_METHODS and not from_a_service and not _from_our_page(headers):
        raise Forbidden("a write with the browser's cookie must come from a page of this server")
    return token


def _cookie(headers: Headers) -> str:
    try:
        cookie = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1"))
    except CookieError:
        return ""
    return cookie[COOKIE].value if COOKIE in cookie else ""


def _from_our_page(headers: Headers) -> bool:
    """Browsers send Sec-Fetch-Site over TLS and on localhost, and Origin with every write."""
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site == b"same-origin"
    origin = headers.get(b"origin", b"").partition(b"://")[2]
    return bool(origin) and origin == headers.get(b"host")


def _wants_page(scope: Scope, headers: Headers) -> bool:
    """Whether a person's browser asks for a whole page, not a script for a part of one."""
    if scope["method"] != "GET" or scope["path"] == "/fhir" or scope["path"].startswith("/fhir/"):
        return False
    navigates = headers.get(b"sec-fetch-mode", b"navigate") == b"navigate"
    return navigates and b"x-kanwa-fragment" not in headers and b"text/html" in headers.get(b"accept", b"")


def _host_name(headers: Headers) -> str:
    host = headers.get(b"host", b"").decode("latin-1").lower()
    return host.partition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _reason(refusal: DomainError) -> str:
    if isinstance(refusal, TokenRefused):
        return refusal.reason
    if isinstance(refusal, InsufficientScope):
        return "scope"
    return "forbidden" if isinstance(refusal, Forbidden) else "keys-unavailable"

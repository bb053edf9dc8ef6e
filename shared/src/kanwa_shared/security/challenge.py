"""How a request without a valid token, or with too little in it, is answered."""

from collections.abc import Iterable
from typing import Final

from starlette.types import Send

from kanwa_shared.errors import DomainError, Issue
from kanwa_shared.fhir.http import FHIR_JSON_UTF8
from kanwa_shared.fhir.outcome import outcome_bytes, status_of
from kanwa_shared.security.authenticator import TokenRefused
from kanwa_shared.security.caller import InsufficientScope

Header = tuple[bytes, bytes]
_REALM: Final = 'Bearer realm="kanwa"'


async def send_refusal(send: Send, error: DomainError) -> None:
    """Answer with the OperationOutcome of `error` and, for 401 and 403, how to do better (RFC 6750)."""
    headers = [(b"www-authenticate", challenge.encode("latin-1"))] if (challenge := _challenge(error)) else []
    await send_outcome(send, status_of(error), error.issues, headers)


async def send_outcome(
    send: Send, status: int, issues: Iterable[Issue], headers: Iterable[Header] = ()
) -> None:
    """Answer with an OperationOutcome."""
    body = outcome_bytes(issues)
    content = [
        (b"content-type", FHIR_JSON_UTF8.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": content})
    await send({"type": "http.response.body", "body": body})


async def send_redirect(send: Send, location: str) -> None:
    """Send a browser to another page of ours."""
    headers = [
        (b"location", location.encode("latin-1")),
        (b"content-length", b"0"),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _challenge(error: DomainError) -> str | None:
    if isinstance(error, TokenRefused):
        if error.reason == "missing":
            return _REALM
        return f'{_REALM}, error="invalid_token", error_description="{error.issues[0].diagnostics}"'
    if isinstance(error, InsufficientScope):
        return f'{_REALM}, error="insufficient_scope", scope="{error.scope}"'
    return None

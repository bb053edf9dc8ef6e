"""What the board adds to the checks of kanwa_shared.security: its page policy, and forms from its own pages only."""

import time
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
from starlette.requests import Request
from starlette.responses import HTMLResponse

from kanwa_shared.errors import Forbidden
from kanwa_shared.security.authentication import COOKIE

#: Everything on a page is a file of this server: no inline script or style, no other host.
PAGE_HEADERS: Final = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "cache-control": "no-store",
}


def page(html: str, status: int = 200, headers: dict[str, str] | None = None) -> HTMLResponse:
    """A page or fragment, with the policy and never stored: it shows patients."""
    return HTMLResponse(html, status, headers={**PAGE_HEADERS, **(headers or {})})


def token_of(request: Request) -> str | None:
    """The caller's token, to be passed on with what is written in the caller's name."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else request.cookies.get(COOKIE)


def seconds_left(token: str | None) -> float | None:
    """How long a token, whose signature has been checked, is valid; None if it does not say."""
    try:
        claims: dict[str, Any] = jwt.decode(token or "", options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return None
    expires = claims.get("exp")
    return max(0.0, expires - time.time()) if isinstance(expires, int | float) else None


def refuse_foreign_form(request: Request) -> None:
    """Raise Forbidden for a form that another site's page sends, also where nobody signs in.

    Browsers say where a form comes from; what says nothing is no browser, and has no cookie to abuse.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    foreign = site not in {None, "same-origin", "none"}
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        foreign = True
    if foreign:
        raise Forbidden("this form was sent from another site; open the board itself and send it there")


def is_local_path(path: str) -> bool:
    """Whether a redirect to it stays on this board."""
    return (
        path.startswith("/") and not path.startswith("//") and "\\" not in path and not urlsplit(path).netloc
    )

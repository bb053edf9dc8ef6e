"""Signing in: a browser keeps the token in a cookie that scripts can't read and other sites don't send."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kanwa_mdt.web.access import is_local_path, page, refuse_foreign_form, seconds_left
from kanwa_mdt.web.forms import read_form
from kanwa_mdt.web.state import state_of
from kanwa_shared.errors import DomainError
from kanwa_shared.security.authentication import COOKIE
from kanwa_shared.security.authenticator import Authenticator


async def show_login(request: Request) -> Response:
    """GET /login."""
    return _page(request, request.query_params.get("next", "/"), "", 200)


async def login(request: Request) -> Response:
    """POST /login: take a token if it is one of a known caller; 401 with the reason otherwise."""
    refuse_foreign_form(request)
    form = await read_form(request)
    token, after = str(form.get("token", "")).strip(), str(form.get("next", "/"))
    authenticator: Authenticator | None = request.app.state.authenticator
    if authenticator is not None:
        try:
            await authenticator.authenticate(token)
        except DomainError as refusal:
            return _page(request, after, str(refusal), 401)
    answer = RedirectResponse(after if is_local_path(after) else "/", 303)
    secure = request.url.scheme == "https"
    left = seconds_left(token)
    answer.set_cookie(
        COOKIE, token, None if left is None else int(left), httponly=True, samesite="strict", secure=secure
    )
    return answer


async def logout(request: Request) -> Response:
    """POST /logout."""
    refuse_foreign_form(request)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


def _page(request: Request, after: str, problem: str, status: int) -> Response:
    known = after if is_local_path(after) else "/"
    html = state_of(request).rendering.page(
        "login.html", title="Sign in", after=known, problem=problem, signed_in=False
    )
    return page(html, status)

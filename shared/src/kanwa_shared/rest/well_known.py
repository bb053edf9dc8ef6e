"""`GET [base]/.well-known/smart-configuration`: how a client gets a token."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from kanwa_shared.rest.responses import engine_of
from kanwa_shared.security import smart_configuration as documents


async def smart_configuration(request: Request) -> Response:
    """The document of SMART Backend Services; the keys' address is given where it is a public one."""
    settings = engine_of(request).settings
    return JSONResponse(
        documents.smart_configuration(
            issuer=settings.auth_issuer,
            token_endpoint=settings.auth_token_url,
            jwks_uri=settings.auth_jwks_url,
        )
    )

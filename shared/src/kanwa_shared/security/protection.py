"""What stands between the network and every application, put together from the settings."""

from collections.abc import Set as AbstractSet
from urllib.parse import urlsplit

from starlette.applications import Starlette

from kanwa_shared.logging import configure_if_nobody_has
from kanwa_shared.security.authentication import Authentication
from kanwa_shared.security.authenticator import Authenticator, TokenRules
from kanwa_shared.security.body_limit import BodyLimit
from kanwa_shared.security.content_coding import ContentCoding
from kanwa_shared.security.key_source import FileKeys, KeySource, UrlKeys
from kanwa_shared.security.request_context import RequestContext
from kanwa_shared.settings import BaseServiceSettings


def authenticator_of(settings: BaseServiceSettings) -> Authenticator | None:
    """Who judges tokens; None where authentication is off. Reads no key yet."""
    if settings.auth_mode == "open":
        return None
    keys: KeySource
    if settings.auth_jwks_url is not None:
        keys = UrlKeys(settings.auth_jwks_url)
    elif settings.auth_jwks_file is not None:
        keys = FileKeys(settings.auth_jwks_file)
    else:
        raise ValueError("KANWA_AUTH_JWKS_FILE or KANWA_AUTH_JWKS_URL must name the callers' keys")
    rules = TokenRules(
        settings.auth_issuer,
        settings.auth_audience,
        settings.auth_clock_skew_seconds,
        settings.auth_token_lifetime_max_seconds,
    )
    return Authenticator(keys, rules)


def protect(
    app: Starlette,
    settings: BaseServiceSettings,
    *,
    service: str,
    reading_operations: AbstractSet[str] = frozenset(),
    has_event_log: bool = False,
) -> None:
    """Put request ids, headers, the body limit and authentication in front of `app`, in this order.

    `reading_operations` are FHIR operations (`$find`) that change nothing though they are posted. With an event log
    of its own, workers of other services may read that with `events_password`.
    """
    configure_if_nobody_has()
    # The last one added is the first one a request meets. Nothing is unpacked for who has no token.
    app.add_middleware(ContentCoding, max_body_bytes=settings.max_body_bytes)
    app.add_middleware(
        Authentication,
        service=service,
        authenticator=authenticator_of(settings),
        public_host=urlsplit(settings.base_url).hostname,
        metrics_networks=settings.metrics_networks.split(),
        reading_operations=reading_operations,
        events_password=settings.events_password if has_event_log else None,
    )
    app.add_middleware(BodyLimit, max_body_bytes=settings.max_body_bytes)
    app.add_middleware(RequestContext, service=service)

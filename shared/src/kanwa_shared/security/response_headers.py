"""Headers that keep browsers and caches from doing more with an answer than showing it."""

from typing import Final

#: All of a page comes from this server; styles inside it are what charts (SVG) need.
PAGE_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: An answer that is data and is opened as a page may do nothing at all.
DATA_POLICY: Final = b"default-src 'none'; frame-ancestors 'none'"

_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # an address of ours may hold what was searched for
    (b"cross-origin-resource-policy", b"same-origin"),
)
#: Looks the same for every patient, so a browser may keep it and ask whether it changed.
_STATIC: Final = (b"text/css", b"text/javascript", b"application/javascript", b"font/", b"image/")


def completed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """`headers` with those that guard the answer, where the application set none; no cache stores patient data."""
    given = dict(headers)
    content_type = given.get(b"content-type", b"")
    is_page = content_type.startswith((b"text/html", b"image/svg+xml"))
    wanted = [
        *_ALWAYS,
        (b"content-security-policy", PAGE_POLICY if is_page else DATA_POLICY),
        (b"cache-control", b"no-cache" if content_type.startswith(_STATIC) else b"no-store"),
    ]
    return [*headers, *(header for header in wanted if header[0] not in given)]

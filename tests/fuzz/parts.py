"""Ids, headers and media types of which requests are put together."""

from typing import Final

from hypothesis import strategies as st

FHIR: Final = "application/fhir+json"
#: Few ids, so that requests meet what others wrote.
IDS: Final = st.sampled_from(["a", "b", "c", "d"]) | st.sampled_from(
    ["none", "%00", "%ff", "..%2f..", "a%20b", "a" * 65, "$x", "_history", "%F0%9F%98%80", "-", "A.b-9"]
)
MEDIA: Final = st.sampled_from(
    [FHIR] * 8
    + [
        "application/json",
        "application/json-patch+json",
        "application/fhir+xml",
        "text/plain",
        "",
        "application/fhir+json; charset=latin-1",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
    ]
)
EXTRA_HEADERS: Final = st.dictionaries(
    st.sampled_from(
        [
            "Accept",
            "Prefer",
            "If-Match",
            "If-None-Match",
            "If-Modified-Since",
            "If-None-Exist",
            "X-Request-Id",
            "traceparent",
            "Accept-Encoding",
            "Content-Encoding",
            "Range",
            "Origin",
        ]
    ),
    st.sampled_from(
        [
            "*/*",
            FHIR,
            "application/fhir+xml",
            "return=minimal",
            "return=OperationOutcome",
            "handling=lenient",
            "respond-async",
            'W/"1"',
            'W/"99"',
            '"',
            "*",
            "W/",
            "Wed, 25 Nov 2026 00:10:00 GMT",
            "identifier=a|b",
            "?",
            "_count=0",
            "x" * 300,
            "gzip",
            "identity",
            "bytes=0-1",
            "null",
            "00-0-0-0",
        ]
    ),
    max_size=2,
)

"""One route for all interactions: the first path that fits, whatever the method, and every method an answer."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match

from kanwa_shared.rest.app import ROUTES
from kanwa_shared.rest.routing import Interactions

SEGMENTS = st.sampled_from(
    [
        "Task",
        "Patient",
        "1",
        "_search",
        "_history",
        "$book",
        "$",
        "metadata",
        "$export-counts",
        "$export",
        "",
        ".well-known",
    ]
) | st.text(alphabet="aZ9-._$ü%", max_size=4)
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]


async def _endpoint(_: Request) -> Response:
    return PlainTextResponse("")


INTERACTIONS = Interactions((method, path, _endpoint) for method, path, _ in ROUTES)
PATHS = sorted({path for _, path, _ in ROUTES}, key=[path for _, path, _ in ROUTES].index)


def _pattern(path: str) -> str:
    """The same path as a regular expression; what stands for a type or an id begins with neither _ nor $."""
    text = re.escape(path).replace(r"\{", "{").replace(r"\}", "}")
    text = re.sub(r"\\\$\{(\w+)\}", r"\\$(?P<\1>[^/]+)", text)
    return re.sub(r"\{(\w+)\}", r"(?P<\1>[^/_$][^/]*)", text)


def _expected(path: str) -> tuple[str, dict[str, str]] | None:
    """A path without parameters first, then the others in their order."""
    for known in sorted(PATHS, key=lambda one: "{" in one):
        found = re.fullmatch(_pattern(known), path, re.DOTALL)
        if found is not None:
            return known, found.groupdict()
    return None


@given(st.sampled_from(METHODS), st.lists(SEGMENTS, max_size=5))
def test_any_path_leads_to_the_first_that_fits_with_its_parameters(method: str, parts: list[str]) -> None:
    path = "/fhir/" + "/".join(parts)
    match, child = INTERACTIONS.matches({"type": "http", "method": method, "path": path})
    found = (child["route"].path, child["path_params"]) if match == Match.FULL else None
    assert found == _expected(path)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/fhir/Patient/1", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("/fhir/Patient", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        ("/fhir/Patient/_search", "OPTIONS, POST"),
        ("/fhir/Patient/1/_history", "GET, HEAD, OPTIONS"),
        ("/fhir/metadata", "GET, HEAD, OPTIONS"),
    ],
)
def test_what_is_allowed_is_what_has_an_endpoint(path: str, allowed: str) -> None:
    _, child = INTERACTIONS.matches({"type": "http", "method": "TRACE", "path": path})
    assert child["route"].allowed == allowed


@pytest.mark.parametrize("path", ["/", "/fhir", "/fhirx/Task", "/fhir/Patient/_x/y/z"])
def test_what_is_no_interaction_is_left_to_the_routes_after_it(path: str) -> None:
    assert INTERACTIONS.matches({"type": "http", "method": "GET", "path": path})[0] == Match.NONE


def test_a_websocket_is_no_interaction() -> None:
    scope: dict[str, Any] = {"type": "websocket", "path": "/fhir/Task"}
    assert INTERACTIONS.matches(scope)[0] == Match.NONE

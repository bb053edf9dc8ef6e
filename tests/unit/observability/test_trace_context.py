"""The traceparent header as W3C Trace Context defines it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kanwa_shared.trace_context import TraceContext, continue_trace

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", 1),
        (f"00-{TRACE}-{SPAN}-00", 0),
        (f" 00-{TRACE}-{SPAN}-01 ", 1),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-adds", 1),
        (f"00-{TRACE}-{SPAN}-ff", 1),
    ],
)
def test_a_header_of_the_specification_is_read(header: str, sampled: int) -> None:
    assert TraceContext.parse(header) == TraceContext(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01\n00",
        f"cc-{TRACE}-{SPAN}-01-{'x' * 600}",
    ],
)
def test_a_header_that_breaks_it_is_ignored(header: str | None) -> None:
    assert TraceContext.parse(header) is None


def test_work_that_a_request_causes_stays_in_its_trace_under_a_span_of_its_own() -> None:
    continued = continue_trace(f"00-{TRACE}-{SPAN}-01")
    assert continued.trace_id == TRACE
    assert continued.span_id != SPAN


def test_work_without_a_trace_begins_one() -> None:
    assert continue_trace("nonsense").trace_id != continue_trace(None).trace_id


@given(st.text())
def test_whatever_a_client_sends_a_valid_header_goes_on(header: str) -> None:
    continued = continue_trace(header)
    assert TraceContext.parse(continued.header) == continued

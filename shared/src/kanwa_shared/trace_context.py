"""W3C Trace Context: the `traceparent` header. See https://www.w3.org/TR/trace-context/."""

import os
import re
from dataclasses import dataclass
from typing import Final, Self

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_LENGTH_MAX: Final = 512


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One span of a trace: 32 and 16 lower-case hexadecimal digits, and the flags (1 = sampled)."""

    trace_id: str
    span_id: str
    flags: int = 1

    @property
    def header(self) -> str:
        """The `traceparent` that names this span as the parent."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    @classmethod
    def parse(cls, header: str | None) -> Self | None:
        """The span that a header names; None without one or where it breaks the specification."""
        found = _TRACEPARENT.fullmatch(header.strip()) if header and len(header) <= _LENGTH_MAX else None
        if found is None:
            return None
        version, trace_id, span_id, flags, rest = found.groups()
        # A later version may add members; version 00 has none, and ff is forbidden.
        if version == "ff" or (version == "00" and rest) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
            return None
        return cls(trace_id, span_id, int(flags, 16) & 1)

    @classmethod
    def new(cls) -> Self:
        """The first span of a new trace."""
        return cls(os.urandom(16).hex(), os.urandom(8).hex())

    def child(self) -> "TraceContext":
        """A new span of the same trace."""
        return TraceContext(self.trace_id, os.urandom(8).hex(), self.flags)


def continue_trace(header: str | None) -> TraceContext:
    """A span for work that a header's trace causes, or the first one of a new trace."""
    parent = TraceContext.parse(header)
    return parent.child() if parent is not None else TraceContext.new()

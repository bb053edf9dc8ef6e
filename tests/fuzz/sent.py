"""One request as it goes over the wire."""

from dataclasses import dataclass, field
from urllib.parse import urlencode


@dataclass(frozen=True, slots=True)
class Sent:
    """`path` is below the FHIR base and percent-encoded already."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = field(default_factory=dict[str, str])
    content: bytes | None = None

    @property
    def target(self) -> str:
        """Path and query."""
        query = urlencode(self.query, errors="surrogatepass")
        return self.path + (f"?{query}" if query else "")

    def __str__(self) -> str:
        """As it is shown for a fault, to be sent again."""
        return f"{self.method} {self.target} {self.headers} {(self.content or b'')[:2000]!r}"

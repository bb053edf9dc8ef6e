"""Sending the requests, and what became of them."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.handmade import anything
from tests.fuzz.schema import Described
from tests.fuzz.sent import Sent
from tests.mutations.cases import seeds

HANG_SECONDS: Final = 20.0
#: Of the requests, the share that comes from the OpenAPI document; the others are made by hand.
_FROM_THE_DOCUMENT: Final = 0.3


@dataclass(slots=True)
class Report:
    """`resident_megabytes` are (requests so far, RSS) of the server's process; `faults` says how to repeat each."""

    seed: int
    statuses: Counter[int] = field(default_factory=Counter[int])
    faults: list[str] = field(default_factory=list[str])
    slowest: tuple[float, str] = (0.0, "")
    resident_megabytes: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])

    @property
    def requests(self) -> int:
        """How many were answered."""
        return self.statuses.total()

    @property
    def growth_megabytes(self) -> float:
        """How much more the last quarter of the run holds than its second quarter, on average."""
        held = [megabytes for _, megabytes in self.resident_megabytes]
        quarter = max(1, len(held) // 4)
        early, late = held[quarter : 2 * quarter], held[-quarter:]
        return sum(late) / len(late) - sum(early) / len(early) if early else 0.0


def resident_megabytes(process: int) -> float:
    """What a process holds in memory (Linux)."""
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


class Sender:
    """Sends to one server and keeps the report."""

    def __init__(self, base: str, process: int, number: int, samples: int):
        self.report = Report(number)
        self._base = base
        self._process = process
        self._every = max(1, samples)
        self._client = httpx.Client(timeout=HANG_SECONDS, trust_env=False)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def send(self, sent: Sent) -> None:
        """Send it and note what came back; what cannot be written as HTTP is left out."""
        started = time.monotonic()
        try:
            url = self._base + ("/" if sent.path and not sent.path.startswith("/") else "") + sent.target
            answer = self._client.request(sent.method, url, headers=sent.headers, content=sent.content)
        except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeEncodeError):
            return
        except httpx.HTTPError as error:
            self.report.faults.append(f"{type(error).__name__}: {sent}")
            return
        self._note(sent, answer, time.monotonic() - started)

    def _note(self, sent: Sent, answer: httpx.Response, seconds: float) -> None:
        report = self.report
        report.statuses[answer.status_code] += 1
        report.slowest = max(report.slowest, (seconds, f"{sent.method} {sent.target[:120]}"))
        if answer.status_code >= 500:
            report.faults.append(f"{answer.status_code} {answer.text[:300]}: {sent}")
        elif (
            answer.status_code >= 400
            and sent.method not in ("HEAD", "TRACE")
            and b"OperationOutcome" not in answer.content
        ):
            report.faults.append(f"{answer.status_code} without an OperationOutcome: {sent}")
        if report.requests % self._every == 0:
            report.resident_megabytes.append((report.requests, resident_megabytes(self._process)))


def fuzz(base: str, process: int, *, requests: int, number: int, described_bodies: int) -> Report:
    """Send about `requests` requests to the server whose FHIR base is `base`; `number` seeds them all.

    `described_bodies` is how many operations with a body are taken from the OpenAPI document, whose bodies are
    slow to make.
    """
    with closing(Sender(base, process, number, requests // 40)) as sender:
        _send_all(sender, base, requests, number, described_bodies)
        return sender.report


def _send_all(sender: Sender, base: str, requests: int, number: int, described_bodies: int) -> None:
    for sent in _every_type():
        sender.send(sent)
    share = int(requests * _FROM_THE_DOCUMENT)
    described = Described(httpx.get(f"{base}/openapi.json", trust_env=False).json(), number)
    described.send(sender.send, requests=share, bodies=described_bodies)
    left = requests - sender.report.requests
    _each(anything, left, number, sender.send)


def _every_type() -> Iterator[Sent]:
    """Each type once, so that what is built at the first meeting is there before memory is watched."""
    for resource_type in seeds():
        yield Sent("POST", resource_type, (), {"Content-Type": "application/fhir+json"}, b"{}")
        yield Sent("GET", resource_type)


def _each(strategy: st.SearchStrategy[Sent], count: int, number: int, send: Callable[[Sent], Any]) -> None:
    @seed(number)
    @settings(
        max_examples=max(count, 1),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def each(sent: Sent) -> None:
        send(sent)

    each()

"""Sends each case and judges the answer."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from kanwa.conformance.cases import Case, cases
from kanwa.conformance.disagreements import Disagreement, disagreement_about
from kanwa_shared.fhir.json_text import JsonDecimal, parse

JSON: Final = {"content-type": "application/fhir+json", "prefer": "return=minimal"}
CREATED: Final = 201


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happened to one file.

    `status` is that of the answer, `equal` what reading it back showed (None if it was not read), `outcome` the
    first refusal in words, `entries` the statuses of a batch's entries.
    """

    file: str
    expected: str
    status: int
    equal: bool | None
    outcome: str
    entries: tuple[str, ...] = ()

    @property
    def surprise(self) -> str | None:
        """What is not as the manifest expects, None if all is."""
        if self.status >= 500:
            return f"answered {self.status}"
        if self.expected == "valid":
            if self.status != CREATED:
                return f"refused with {self.status}: {self.outcome}"
            return None if self.equal else "came back changed"
        if self.expected == "invalid-entries" and self.status == 200:
            return None if any(entry[:1] == "4" for entry in self.entries) else "no entry was refused"
        if self.status < 400:
            return "accepted"
        return None if self.outcome else "refused without an OperationOutcome that names the element"

    @property
    def explanation(self) -> Disagreement | None:
        """Why R4 says otherwise than the manifest, where that is known and is what happened."""
        known = disagreement_about(self.file)
        if known is None or self.surprise is None or known.found not in self.surprise:
            return None
        return known

    @property
    def wrong(self) -> str | None:
        """The surprise, unless R4 explains it."""
        return None if self.explanation else self.surprise


async def judge(client: httpx.AsyncClient, folder: Path) -> list[Verdict]:
    """Send every JSON file of `folder` that its manifest expects something of; all as valid, without a manifest."""
    return [await _judge(client, case) for case in cases(folder)]


async def _judge(client: httpx.AsyncClient, case: Case) -> Verdict:
    answer = await client.request(case.method, case.path, content=case.body, headers=JSON)
    equal = None
    if answer.status_code == CREATED:
        stored = await client.get(answer.headers["location"].rsplit("/_history/", 1)[0])
        equal = stored.is_success and content(stored.content) == content(case.body)
    return Verdict(
        case.file, case.expected, answer.status_code, equal, named_element(answer), _entry_statuses(answer)
    )


def content(body: bytes) -> Any:
    """A resource but for its identity, with every number as it was written, for comparing."""
    return _as_text({name: value for name, value in parse(body).items() if name not in {"id", "meta"}})


def _as_text(node: Any) -> Any:
    """The tree with every number as it was written."""
    match node:
        case dict():
            return {name: _as_text(value) for name, value in node.items()}  # pyright: ignore[reportUnknownVariableType]  # JSON
        case list():
            return [_as_text(value) for value in node]  # pyright: ignore[reportUnknownVariableType]  # JSON
        case JsonDecimal():
            return ("number", node.literal)
        case bool() | None | str():
            return node
        case _:
            return ("number", str(node))


def named_element(answer: httpx.Response) -> str:
    """The first refusal in words, empty unless the answer is an OperationOutcome with diagnostics."""
    if answer.status_code < 400 or "json" not in answer.headers.get("content-type", ""):
        return ""
    issues = answer.json().get("issue", [])
    return str(issues[0].get("diagnostics", "")) if issues else ""


def _entry_statuses(answer: httpx.Response) -> tuple[str, ...]:
    if answer.status_code != 200 or "json" not in answer.headers.get("content-type", ""):
        return ()
    return tuple(str(entry.get("response", {}).get("status", "")) for entry in answer.json().get("entry", []))

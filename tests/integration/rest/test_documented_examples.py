"""The examples of docs/api are requests that were sent: each is sent again, and must be answered as the page shows."""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.fhir_server import BASE, fhir_server

DOCS = Path(__file__).parents[3] / "docs" / "api"
#: In the order in which a reader tries them: some go on from what the page before has written.
PAGES = ("create", "update", "read", "vread", "patch", "history", "delete", "search", "transaction")
SHOWN = "http://127.0.0.1:8080/fhir"
_BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(
    r"^(?P<command>curl .*?)\n\nHTTP/1\.1 (?P<status>\d{3})[^\n]*\n(?P<rest>.*?)(?=^curl |\Z)",
    re.MULTILINE | re.DOTALL,
)


@dataclass
class Example:
    """A curl command as a request, with the status and headers that the page shows."""

    page: str
    status: int
    shown: dict[str, str]
    method: str = "GET"
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    content: str | None = None


def examples(page: str) -> list[Example]:
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return [_example(page, found) for block in _BLOCK.findall(text) for found in _EXAMPLE.finditer(block)]


def _example(page: str, found: re.Match[str]) -> Example:
    shown = dict(re.findall(r"^(etag|allow): (.*)$", found["rest"], re.MULTILINE))
    example = Example(page, int(found["status"]), shown)
    words = iter(shlex.split(found["command"].replace("\\\n", " "))[1:])
    for word in words:
        match word:
            case "-X":
                example.method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                example.headers[name.lower()] = value
            case "-d":
                example.content = next(words)
                example.method = "POST" if example.method == "GET" else example.method
            case "-s" | "-si":
                pass
            case _:
                example.url = word
    return example


async def send(client: httpx.AsyncClient, example: Example) -> None:
    assert example.url.startswith(SHOWN), f"{example.page}: {example.url}"
    answer = await client.request(
        example.method,
        BASE + example.url.removeprefix(SHOWN),
        headers=example.headers,
        content=example.content,
    )
    where = f"{example.page}.md: {example.method} {example.url}: {answer.text}"
    assert answer.status_code == example.status, where
    assert {name: answer.headers.get(name) for name in example.shown} == example.shown, where


async def test_every_example_is_answered_as_its_page_shows(database: Callable[..., str]) -> None:
    async with fhir_server(database) as server:
        for page in PAGES:
            found = examples(page)
            assert found, f"{page}.md has no example with a status"
            for example in found:
                await send(server.fhir, example)


def test_no_interaction_has_a_page_whose_examples_are_not_sent() -> None:
    others = {"README", "operations", "events"}  # operations need a hospital's calendars, events a stream
    pages = {path.stem for path in DOCS.glob("*.md") if "curl" in path.read_text(encoding="utf-8")}
    assert set(PAGES) <= pages
    assert {page for page in pages - set(PAGES) - others if examples(page)} == set()

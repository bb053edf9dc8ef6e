"""Which files of a folder are sent, how, and what has to come of them."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kanwa_shared.errors import DomainError
from kanwa_shared.fhir.json_text import parse
from kanwa_shared.fhir.json_types import Tree

MANIFEST: Final = "manifest.csv"
#: What a base R4 server has to answer for; `invalid-deep` needs terminologies and foreign profiles.
JUDGED: Final = ("valid", "invalid", "invalid-rule", "invalid-request", "invalid-entries")
_ANOTHER_ID: Final = "an-id-that-is-not-in-the-body"


@dataclass(frozen=True, slots=True)
class Case:
    """One file, what its manifest expects, and the request that shows it: method and path below the base."""

    file: str
    expected: str
    body: bytes
    method: str
    path: str


def cases(folder: Path) -> Iterable[Case]:
    """Every JSON file that the manifest expects something of; without a manifest all, as valid."""
    for file, expected in _files(folder):
        body = (folder / file).read_bytes()
        method, path = _request(body, expected)
        yield Case(file, expected, body, method, path)


def _files(folder: Path) -> Iterable[tuple[str, str]]:
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return [(str(path.relative_to(folder)), "valid") for path in sorted(folder.rglob("*.json"))]
    with manifest.open(newline="", encoding="utf-8") as rows:
        return [
            (row["file"], row["expected"])
            for row in csv.DictReader(rows)
            if row["expected"] in JUDGED and row["file"].endswith(".json")
        ]


def _request(body: bytes, expected: str) -> tuple[str, str]:
    """A create, but where the fault is in the use: an update under another id, a Bundle to be processed."""
    tree = _tree(body)
    resource_type = str(tree.get("resourceType") or "Basic")
    if expected not in ("invalid-request", "invalid-entries"):
        return "POST", resource_type
    if resource_type == "Bundle":
        return "POST", ""
    return "PUT", f"{resource_type}/{_ANOTHER_ID}"


def _tree(body: bytes) -> Tree:
    """The document; what cannot be read goes to a type where its refusal is certain to be about the body."""
    try:
        return parse(body)
    except DomainError:
        return {}

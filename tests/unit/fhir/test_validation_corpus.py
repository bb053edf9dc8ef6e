"""The validator against files that other people wrote: HL7's examples, guides, servers' fixtures.

The files are not part of this repository. They are looked for beside it, or where KANWA_FHIR_DATA says;
without them the same assertions run over kanwa's own examples.
"""

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from kanwa.conformance.disagreements import disagreement_about
from kanwa_shared.errors import Issue, Unparsable
from kanwa_shared.fhir import json_text
from kanwa_shared.fhir.validation import primitives, validate
from kanwa_shared.fhir.validation.walker import walk

_LARGE_BYTES = 100_000
REPOSITORY = Path(__file__).parents[3]
EXAMPLES = REPOSITORY / "shared/examples"
CORPUS = Path(os.environ.get("KANWA_FHIR_DATA", REPOSITORY.parent / "shared/fhir-data"))


@dataclass(frozen=True)
class _File:
    name: str
    body: bytes
    expected: str


def _corpus() -> Iterator[_File]:
    with (CORPUS / "manifest.csv").open(encoding="utf-8", newline="") as manifest:
        for row in csv.DictReader(manifest):
            if row["file"].endswith(".json"):
                yield _File(row["file"], (CORPUS / row["file"]).read_bytes(), row["expected"])


def _own_examples() -> Iterator[_File]:
    for path in sorted((EXAMPLES / "valid").glob("*.json")):
        yield _File(path.name, path.read_bytes(), "valid")
    for path in sorted((EXAMPLES / "invalid").glob("*.json")):
        fault = json_text.parse(path.read_bytes())
        yield _File(path.name, json_text.dumps(fault["resource"]), "invalid")


FILES = list(_corpus() if (CORPUS / "manifest.csv").exists() else _own_examples())


@cache
def _issues(body: bytes) -> list[Issue]:
    try:
        tree = json_text.parse(body)
    except Unparsable as refused:
        return list(refused.issues)
    # fhir.resources takes seconds for each of the largest Bundles, and says nothing about them.
    return walk(tree) if len(body) > _LARGE_BYTES else validate(tree, body)


def _where(*expected: str) -> list[_File]:
    """The files of these labels of which R4 says the same as the label."""
    return [file for file in FILES if file.expected in expected and disagreement_about(file.name) is None]


def test_valid_files_are_accepted() -> None:
    files = _where("valid")
    assert files
    assert {file.name: issues for file in files if (issues := _issues(file.body))} == {}


def test_valid_files_are_read_and_written_without_loss() -> None:
    for file in (each for each in FILES if each.expected == "valid"):
        tree = json_text.parse(file.body)
        assert json_text.parse(json_text.dumps(tree)) == tree
        assert _literals(json_text.dumps(tree)) == _literals(file.body.removeprefix(b"\xef\xbb\xbf")), (
            file.name
        )


def _literals(body: bytes) -> list[str]:
    numbers: list[str] = []
    json.loads(body, parse_float=numbers.append, parse_int=numbers.append)
    return numbers


def test_invalid_files_are_refused_with_a_place_or_a_position() -> None:
    files = _where("invalid", "invalid-rule")
    assert files
    for file in files:
        issues = _issues(file.body)
        assert issues, file.name
        assert all(issue.expression or "line" in issue.diagnostics for issue in issues), file.name


def test_each_disagreement_is_about_what_its_rule_says() -> None:
    for file in FILES:
        known = disagreement_about(file.name)
        if known is not None and file.expected == "valid":
            assert any(known.found in issue.diagnostics for issue in _issues(file.body)), file.name
        elif known is not None:
            assert known.found == "accepted", file.name
            assert _issues(file.body) == [], file.name


_NAMES = {
    "base64_binary": "base64Binary",
    "date_time": "dateTime",
    "positive_int": "positiveInt",
    "unsigned_int": "unsignedInt",
}


def _primitive_rows() -> list[tuple[str, str, str]]:
    path = CORPUS / "primitives/primitives.tsv"
    if not path.exists():
        return [("boolean", "invalid", '"true"'), ("date", "valid", '"1800-02"')]
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    # null is no value of a primitive but its absence, which only extensions beside it allow
    return [
        (_NAMES.get(name, name), verdict, literal) for name, verdict, literal in rows if literal != "null"
    ]


@pytest.mark.parametrize(("name", "verdict", "literal"), _primitive_rows())
def test_primitive_literals_are_judged_as_listed(name: str, verdict: str, literal: str) -> None:
    if name == "reference":
        tree = json_text.parse(
            f'{{"resourceType":"Task","status":"draft","intent":"order","for":{literal}}}'.encode()
        )
        if literal == '{"reference": "#p1"}':
            tree["contained"] = [{"resourceType": "Patient", "id": "p1"}]
        accepted = validate(tree) == []
    else:
        try:
            accepted = primitives.TESTS[name](json_text.parse(f'{{"value":{literal}}}'.encode())["value"])
        except Unparsable:  # a literal that is not JSON, such as f
            accepted = False
    assert accepted == (verdict == "valid")

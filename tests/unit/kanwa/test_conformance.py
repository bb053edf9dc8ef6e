"""Which verdicts of the conformance run are wrong, and which R4 explains."""

import json
from pathlib import Path

import httpx
import pytest

from kanwa.conformance import Verdict, judge, report
from kanwa.conformance.cases import cases
from kanwa.conformance.disagreements import disagreements


def _verdict(
    expected: str = "valid",
    status: int = 201,
    equal: bool | None = True,
    outcome: str = "",
    file: str = "a.json",
    entries: tuple[str, ...] = (),
) -> Verdict:
    return Verdict(file, expected, status, equal, outcome, entries)


@pytest.mark.parametrize(
    ("verdict", "wrong"),
    [
        (_verdict(), False),
        (_verdict(equal=False), True),
        (_verdict(status=400, outcome="x"), True),
        (_verdict("invalid", 400, None, "x"), False),
        (_verdict("invalid", 400, None), True),
        (_verdict("invalid", 201), True),
        (_verdict("invalid", 503, None, "x"), True),
        (_verdict("invalid-request", 200, None), True),
        (_verdict("invalid-entries", 200, None, entries=("201 Created", "400")), False),
        (_verdict("invalid-entries", 200, None, entries=("201 Created",)), True),
    ],
)
def test_a_verdict_is_wrong_unless_it_is_what_the_manifest_expects(verdict: Verdict, wrong: bool) -> None:
    assert (verdict.wrong is not None) is wrong


def test_a_disagreement_explains_its_own_refusal_and_no_other() -> None:
    known = disagreements()[0]
    refused = _verdict(status=400, equal=None, outcome=f"x {known.found}", file=f"folder/{known.file}")
    otherwise = _verdict(status=400, equal=None, outcome="x", file=f"folder/{known.file}")
    assert (refused.wrong, otherwise.wrong is None) == (None, False)
    page = report([refused, otherwise])
    assert "| valid | 2 | 0 | 1 | 1 |" in page
    assert known.rule in page


def test_a_fault_of_the_request_is_sent_as_the_request_that_shows_it(tmp_path: Path) -> None:
    files = {"p.json": "Patient", "b.json": "Bundle", "v.json": "Patient", "x.json": None}
    for name, resource_type in files.items():
        (tmp_path / name).write_text(json.dumps({"resourceType": resource_type}) if resource_type else "{")
    labels = {
        "p.json": "invalid-request",
        "b.json": "invalid-entries",
        "v.json": "valid",
        "x.json": "invalid",
    }
    rows = [
        "file,expected,why",
        *(f"{name},{label}," for name, label in labels.items()),
        "d.json,invalid-deep,",
    ]
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    assert [(case.file, case.method, case.path.partition("/")[0]) for case in cases(tmp_path)] == [
        ("p.json", "PUT", "Patient"),
        ("b.json", "POST", ""),
        ("v.json", "POST", "Patient"),
        ("x.json", "POST", "Basic"),
    ]


async def test_what_comes_back_with_another_decimal_is_changed(tmp_path: Path) -> None:
    (tmp_path / "o.json").write_text('{"resourceType":"Observation","valueQuantity":{"value":1.50}}')

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(201, headers={"location": "http://k/Observation/1/_history/1"})
        return httpx.Response(200, content=b'{"resourceType":"Observation","valueQuantity":{"value":1.5}}')

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://k/") as client:
        (verdict,) = await judge(client, tmp_path)
    assert verdict.wrong == "came back changed"

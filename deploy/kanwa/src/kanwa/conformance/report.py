"""The page that the conformance run writes."""

from collections import Counter
from collections.abc import Iterable

from kanwa.conformance.judging import Verdict
from kanwa.conformance.suites import SuiteCase, suites_section

_HEAD = """\
# Conformance on real files

`make conformance` sends every file of a folder to an embedded kanwa, reads back what was accepted and writes this page.
A file is created at its type; `invalid-request` is an update under an id that the body has not, or a Bundle to be
processed; of `invalid-entries` at least one entry must be refused. Every refusal must be an OperationOutcome that says
what is wrong. Equal on the wire: every member but `id` and `meta`, numbers and dates compared as text.

| expected | files | as expected | explained by R4 | wrong |
|---|---|---|---|---|
"""


def report(verdicts: Iterable[Verdict], suites: Iterable[SuiteCase] = ()) -> str:
    """The counts, the suites, every wrong verdict and every disagreement with the rule behind it; Markdown."""
    judged = list(verdicts)
    return "".join(
        [
            _HEAD,
            *(_row(judged, expected) for expected in sorted({verdict.expected for verdict in judged})),
            _totals(judged),
            suites_section(suites),
            "\n## Wrong\n",
            "".join(f"- `{v.file}` ({v.expected}): {v.wrong}\n" for v in judged if v.wrong) or "None.\n",
            _explained(judged),
        ]
    )


def _row(judged: list[Verdict], expected: str) -> str:
    found = Counter(
        "wrong" if v.wrong else "explained" if v.surprise else "good"
        for v in judged
        if v.expected == expected
    )
    return f"| {expected} | {found.total()} | {found['good']} | {found['explained']} | {found['wrong']} |\n"


def _totals(judged: list[Verdict]) -> str:
    refused = sum(1 for verdict in judged if verdict.status >= 400)
    read = sum(1 for verdict in judged if verdict.equal is not None)
    equal = sum(1 for verdict in judged if verdict.equal)
    return f"\nAccepted {len(judged) - refused}, refused {refused}; of {read} read back {equal} equal on the wire.\n"


def _explained(judged: list[Verdict]) -> str:
    explained = [(verdict, verdict.explanation) for verdict in judged if verdict.explanation]
    if not explained:
        return ""
    lines = [
        "\n## Where R4 says otherwise than the manifest\n",
        "The manifest's labels are partly a vote of validators that check no codes and few invariants. Each rule\n",
        "below is R4's own; the table is `deploy/kanwa/src/kanwa/conformance/disagreements.toml`.\n\n",
    ]
    lines += [
        f"- `{verdict.file}` ({verdict.expected}): {verdict.surprise}\n  - {known.rule}\n"
        for verdict, known in explained
        if known
    ]
    return "".join(lines)

"""What kanwa and Medplum find, and why they differ where they do."""

import tomllib
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.searches.questions import Question

Row = dict[str, Any]

_TABLE: Final = Path(__file__).with_name("explanations.toml")


@cache
def explanations() -> list[Row]:
    """Each with `forms`, `finds` (what kanwa finds: more, fewer or other), maybe `parameters`, and `reason`.

    `finds` is "refused" where Medplum refuses.
    """
    return tomllib.loads(_TABLE.read_text(encoding="utf-8"))["difference"]


class Comparison:
    """Answers to searches; `wrong` are the differences that nothing explains."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.equal: Counter[str] = Counter()
        self.found_something = 0
        self.types: set[str] = set()
        self.parameters: set[str] = set()
        self.used: Counter[int] = Counter()
        self.wrong: list[str] = []

    def judge(
        self,
        question: Question,
        ours: Sequence[str],
        theirs: Sequence[str] | str,
        expected: Sequence[str] | None = None,
    ) -> None:
        """One search of one parameter; `expected` is what a third reading of the specification says."""
        form = question.form
        self.asked[form] += 1
        self.types.add(question.resource_type)
        self.parameters.add(question.parameter)
        self.found_something += bool(ours)
        if expected is not None and list(ours) != list(expected):
            self.wrong.append(f"{question}: kanwa finds {ours}, the third reading {expected}")
        if list(ours) == theirs:
            self.equal[form] += 1
            return
        finds = _difference(set(ours), theirs)
        for number, row in enumerate(explanations()):
            if (
                row["finds"] == finds
                and any(fnmatchcase(form, pattern) for pattern in row["forms"])
                and any(fnmatchcase(question.parameter, pattern) for pattern in row.get("parameters", ["*"]))
            ):
                self.used[number] += 1
                return
        more, fewer = sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))
        told = f"it says {theirs}" if isinstance(theirs, str) else f"more {more[:5]}, fewer {fewer[:5]}"
        self.wrong.append(f"unexplained ({form}, {finds}): {question}: {told}")

    def combine(self, question: Question, ours: Sequence[str], alone: Sequence[Sequence[str]]) -> None:
        """A search of several parameters must find what each of them finds."""
        if set(ours) != set.intersection(*map(set, alone)):
            self.wrong.append(f"{question}: kanwa finds {ours}, which is not what each parameter finds")

    def needless(self) -> list[str]:
        """Explanations of differences that are no more."""
        return [
            f"no difference needs it: {row['forms']} {row['finds']}: {row['reason']}"
            for number, row in enumerate(explanations())
            if not self.used[number]
        ]


def _difference(ours: set[str], theirs: Sequence[str] | str) -> str:
    if isinstance(theirs, str):
        return "refused"
    return "more" if ours > set(theirs) else "fewer" if ours < set(theirs) else "other"


def _row_of(form: str) -> str:
    """Where the page counts a form: several values make one row for each type and modifier."""
    words = form.split()
    name = " ".join([*words[:-1], "(several values)"]) if "," in form and words[0] != "date" else form
    name = "date (several values)" if words[0] == "date" and "," in form else name
    return name.replace("|", "\\|")


def page(comparison: Comparison, combined: int) -> str:
    """The result as Markdown."""
    asked, equal = comparison.asked.total(), comparison.equal.total()
    lines = [
        "# Search beside Medplum's memory repository\n",
        "`make oracle-search` asks kanwa (on PostgreSQL) and the MemoryRepository of `@medplum/fhir-router` the same",
        "searches over the same resources (`tests/searches/`) and writes this page. A difference without a reason, and",
        "a reason without a difference, make the run fail. Searches over made-up resources are judged by a third",
        "reading of the specification as well (`tests/support/search_oracle.py`), which must agree with kanwa.",
        "Over HL7's examples there is no third reading: a reason below covers every search of its form that differs",
        "in its direction.\n",
        f"{asked} searches of one parameter, {len(comparison.parameters)} parameters of {len(comparison.types)} types: "
        f"{equal} found the same, {asked - equal} differ for the reasons below. "
        f"{comparison.found_something} found something. "
        f"{combined} searches of several parameters found what each of their parameters finds.\n",
        "| asked | searches | the same |",
        "|---|---|---|",
    ]
    rows: dict[str, Counter[str]] = {}
    for form, count in comparison.asked.items():
        row = rows.setdefault(_row_of(form), Counter())
        row.update(asked=count, equal=comparison.equal[form])
    lines += [f"| {name} | {row['asked']} | {row['equal']} |" for name, row in sorted(rows.items())]
    lines += ["", "## Where they differ"]
    for number, row in enumerate(explanations()):
        forms = ", ".join(row["forms"]) + (
            f" of {', '.join(row['parameters'])}" if "parameters" in row else ""
        )
        what = "Medplum refuses" if row["finds"] == "refused" else f"kanwa finds {row['finds']}"
        lines.append(f"- **{forms}**, {what}, {comparison.used[number]} times: {row['reason']}")
    return "\n".join(lines) + "\n"

"""kanwa's verdicts beside those of the oracles, each difference with its reason."""

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any, Final

from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.fhir.validation import validate
from kanwa_shared.profiles import claimed_faults
from tests.mutations.cases import Case
from tests.mutations.oracles import Complaints

Row = dict[str, Any]

_TABLE: Final = Path(__file__).with_name("explanations.toml")


@cache
def explanations() -> dict[str, list[Row]]:
    """The tables `refuses`, `misses` and `alone`."""
    return tomllib.loads(_TABLE.read_text(encoding="utf-8"))


def is_refused(case: Case) -> bool:
    """kanwa's verdict: base R4, then the profiles that are claimed."""
    return bool(validate(case.tree, dumps(case.tree)) or claimed_faults(case.tree))


class Comparison:
    """All cases with what each oracle has against them."""

    def __init__(self, cases: Sequence[Case], told: Mapping[str, Complaints]):
        self.cases = cases
        self.told = told
        self.wrong: list[str] = []
        self.used: Counter[tuple[str, int]] = Counter()
        for position, case in enumerate(cases):
            self._judge(case, {oracle: told[oracle][position] for oracle in told})

    def _judge(self, case: Case, against: Mapping[str, Sequence[str]]) -> None:
        if is_refused(case) == case.valid:
            self.wrong.append(f"kanwa {'refuses' if case.valid else 'accepts'} {case.name}")
        for oracle, complaints in against.items():
            if case.valid:
                for complaint in complaints:
                    self._explain(
                        "refuses",
                        f"{oracle} refuses {case.name}: {complaint}",
                        lambda row, oracle=oracle, complaint=complaint: (
                            row["oracle"] == oracle and row["holds"] in complaint
                        ),
                    )
            elif not complaints:
                self._explain(
                    "misses",
                    f"{oracle} accepts {case.name}",
                    lambda row, oracle=oracle: (
                        row["oracle"] == oracle
                        and any(fnmatch(case.operator, pattern) for pattern in row["operators"])
                    ),
                )
        if not case.valid and not any(against.values()):
            self._explain(
                "alone", f"only kanwa refuses {case.name}", lambda row: row["operator"] == case.operator
            )

    def _explain(self, table: str, difference: str, fits) -> None:  # a predicate of one row
        for number, row in enumerate(explanations()[table]):
            if fits(row):
                self.used[table, number] += 1
                return
        self.wrong.append(f"unexplained: {difference}")


def page(comparison: Comparison) -> str:
    """The result as Markdown."""
    cases, told = comparison.cases, comparison.told
    broken = sum(not case.valid for case in cases)
    lines = [
        "# Validation beside independent validators\n",
        "`make oracle-validation` judges the mutation corpus (`tests/mutations/`) with kanwa and with four validators",
        "of others, and writes this page. Labels are R4's; a difference without a reason makes the run fail.\n",
        f"{len(cases)} cases over {len({case.tree.get('resourceType') for case in cases if case.valid})} types: "
        f"{broken} broken, {len(cases) - broken} valid. "
        f"kanwa accepts {sum(not case.valid and not is_refused(case) for case in cases)} broken ones and refuses "
        f"{sum(case.valid and is_refused(case) for case in cases)} valid ones.\n",
        "| operator | cases | kanwa refuses | " + " | ".join(told) + " |",
        "|---|---|---|" + "---|" * len(told),
    ]
    groups: dict[str, list[int]] = {}
    for position, case in enumerate(cases):
        name = "constraint" if case.operator.startswith("constraint-") else case.operator
        groups.setdefault(f"{name} ({'valid' if case.valid else 'broken'})", []).append(position)
    for name, positions in sorted(groups.items()):
        ours = sum(is_refused(cases[position]) for position in positions)
        theirs = [str(sum(bool(told[oracle][position]) for position in positions)) for oracle in told]
        lines.append(f"| {name} | {len(positions)} | {ours} | " + " | ".join(theirs) + " |")
    for table, title in (
        ("refuses", "Refused by another, allowed by R4"),
        ("alone", "Refused by kanwa alone"),
        ("misses", "Accepted by another, forbidden by R4"),
    ):
        lines += ["", f"## {title}"]
        for number, row in enumerate(explanations()[table]):
            if found := comparison.used[table, number]:
                who = row.get("oracle") or row["operator"]
                what = row.get("holds") or ", ".join(row.get("operators", ()))
                lines.append(f"- {who}{f' ({what})' if what else ''}, {found} times: {row['reason']}")
    return "\n".join(lines) + "\n"

"""`python -m tests.searches`: kanwa's search beside Medplum's; writes docs/search-oracle.md."""

import json
import sys
from collections.abc import Sequence
from typing import Final

from tests.mutations.cases import FHIR_FILES, REPOSITORY
from tests.searches.comparison import Comparison, page
from tests.searches.kanwa import ask_kanwa
from tests.searches.medplum import medplum
from tests.searches.questions import Tree, of_every_parameter, questions_of
from tests.support import search_cases, search_queries
from tests.support.npm import NpmUnreachable
from tests.support.search_oracle import Oracle

PAGE: Final = REPOSITORY / "docs/search-oracle.md"
EXAMPLES: Final = (
    REPOSITORY / "shared/examples/valid",
    FHIR_FILES / "hl7-r4-examples",
)
SEED: Final = 7
MADE_UP: Final = 700


def main() -> int:
    """1 if a difference has no reason, or a reason no difference; each is printed, and the page is left as it was."""
    comparison = Comparison()
    missing = [folder for folder in EXAMPLES if not folder.is_dir()]
    if missing:
        sys.stderr.write(f"kanwa: {missing[0]} is not there, so too little would be compared\n")
        return 1
    try:
        combined = _made_up(comparison)
        _examples(comparison)
    except NpmUnreachable as reason:
        sys.stderr.write(f"kanwa: npm's packages are out of reach, so nothing is compared: {reason}\n")
        return 1
    faults = [*comparison.wrong, *comparison.needless()]
    for fault in faults:
        sys.stdout.write(f"{fault}\n")
    if not faults:
        PAGE.write_text(page(comparison, combined), encoding="utf-8")
    sys.stdout.write(f"{comparison.asked.total()} searches, {len(faults)} faults: {PAGE.name}\n")
    return min(1, len(faults))


def _made_up(comparison: Comparison) -> int:
    """Every modifier and prefix, alone and together, over resources made for it."""
    resources = search_cases.resources(SEED)
    oracle = Oracle(resources)
    asked = questions_of(search_queries.queries(SEED, MADE_UP))
    together = [question for question in asked if len(question.query) > 1]
    alone = list(dict.fromkeys(part for question in asked for part in question.alone()))
    ours = dict(zip([*alone, *together], ask_kanwa(resources, [*alone, *together]), strict=True))
    with medplum() as other:
        other.hold(resources)
        for question in alone:
            expected = oracle.search(question.resource_type, list(question.query))
            comparison.judge(question, ours[question], other.search(question), expected)
    for question in together:
        comparison.combine(question, ours[question], [ours[part] for part in question.alone()])
    return len(together)


def _examples(comparison: Comparison) -> None:
    """Every parameter of every type over real resources, with values that Medplum finds in them."""
    resources = _read_examples()
    with medplum() as other:
        other.hold(resources)
        types = sorted({resource["resourceType"] for resource in resources})
        asked = [question for name in types for question in of_every_parameter(name, other.values(name))]
        asked = list(dict.fromkeys(asked))
        for question, found in zip(asked, ask_kanwa(resources, asked), strict=True):
            comparison.judge(question, found, other.search(question))


def _read_examples() -> Sequence[Tree]:
    """One resource for each type and id; Bundles hold others, so they are left out."""
    found: dict[tuple[str, str], Tree] = {}
    for folder in EXAMPLES:
        for file in sorted(folder.rglob("*.json")):
            tree = json.loads(file.read_text(encoding="utf-8-sig"))
            if tree.get("id") and tree.get("resourceType") not in (None, "Bundle"):
                found.setdefault((tree["resourceType"], tree["id"]), tree)
    return list(found.values())


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.mutations`: the whole corpus beside all oracles; writes docs/validation-oracles.md."""

import sys
from typing import Final

from tests.mutations.cases import REPOSITORY
from tests.mutations.comparison import Comparison, page
from tests.mutations.corpus import corpus
from tests.mutations.oracles import ask_fhirkit, ask_npm, ask_pyfhircheck
from tests.support.npm import NpmUnreachable

PAGE: Final = REPOSITORY / "docs/validation-oracles.md"
PLACES: Final = 3
SEEDS_OF_A_TYPE: Final = 3


def main() -> int:
    """The number of differences that nothing explains, at most 1; each is printed."""
    cases = list(corpus(places=PLACES, seeds_of_a_type=SEEDS_OF_A_TYPE))
    told = {"fhirkit": ask_fhirkit(cases), "pyfhircheck": ask_pyfhircheck(cases)}
    try:
        told["medplum"], told["fhirpath"] = ask_npm(cases)
    except NpmUnreachable as reason:
        sys.stderr.write(f"kanwa: without the npm validators, so the page stays as it is: {reason}\n")
    comparison = Comparison(cases, told)
    if "medplum" in told:
        PAGE.write_text(page(comparison), encoding="utf-8")
    for difference in comparison.wrong:
        sys.stdout.write(f"{difference}\n")
    sys.stdout.write(
        f"{len(cases)} cases, {len(comparison.wrong)} differences without a reason: {PAGE.name}\n"
    )
    return min(1, len(comparison.wrong))


if __name__ == "__main__":
    sys.exit(main())

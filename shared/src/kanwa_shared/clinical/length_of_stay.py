"""Length of stay: what a site states for a procedure, never a guess from the literature.

Published studies of palliative IR almost never give one, so each site states it on a Location (a suite, or what
the suite is part of): extension `LENGTH_OF_STAY_URL`, once per procedure, with sub-extensions `procedure`
(valueCode of ir-procedure), `medianDays` (valueDecimal), and where known `lowerQuartileDays`,
`upperQuartileDays` (valueDecimal), `n` (valueInteger, patients), `asOf` (valueDate).
"""

from collections.abc import Iterable
from typing import Any, Final

from kanwa_shared.clinical.codes import CANONICAL
from kanwa_shared.fhir.json_types import Tree

LENGTH_OF_STAY_URL: Final = f"{CANONICAL}/StructureDefinition/expected-length-of-stay"


def expected_length_of_stay(procedure: str, locations: Iterable[Tree]) -> Tree | None:
    """The extension that the innermost of `locations` (suite first) states for a procedure, or None."""
    for location in locations:
        for extension in location.get("extension", ()):
            if extension.get("url") == LENGTH_OF_STAY_URL and _part(extension, "procedure") == procedure:
                return extension
    return None


def stay_in_words(extension: Tree) -> str | None:
    """`median 2 d (1-4), n=57, as of 2026-01-31`, with what the site states; None without a median."""
    median = _part(extension, "medianDays")
    if median is None:
        return None
    lower, upper = _part(extension, "lowerQuartileDays"), _part(extension, "upperQuartileDays")
    patients, as_of = _part(extension, "n"), _part(extension, "asOf")
    quartiles = f" ({lower}-{upper})" if lower is not None and upper is not None else ""
    details = [f"n={patients}"] if patients is not None else []
    details += [f"as of {as_of}"] if as_of is not None else []
    return ", ".join([f"median {median} d{quartiles}", *details])


def _part(extension: Tree, name: str) -> Any:
    parts: list[Tree] = [part for part in extension.get("extension", ()) if part.get("url") == name]
    values = (value for part in parts for key, value in part.items() if key.startswith("value"))
    return next(values, None)

"""The site's own expected length of stay: its figure for a procedure, never a guess from the literature.

Published studies of palliative IR almost never give one, so each site states it on a Location (a suite, or
what the suite is part of); a site that states none is to be asked.
"""

from collections.abc import Iterable
from typing import Final

from kanwa_shared.fhir.json_types import Tree

#: On a Location, once per procedure, with sub-extensions `procedure` (valueCode of ir-procedure),
#: `medianDays` (valueDecimal), and where known `lowerQuartileDays`, `upperQuartileDays` (valueDecimal),
#: `n` (valueInteger, patients), `asOf` (valueDate). An Appointment carries the one of its procedure.
LENGTH_OF_STAY_URL: Final = "https://kanwa.example/fhir/StructureDefinition/expected-length-of-stay"


def expected_length_of_stay(procedure: str, locations: Iterable[Tree]) -> Tree | None:
    """The extension that the innermost of `locations` (suite first) states for a procedure, or None."""
    for location in locations:
        for extension in location.get("extension", ()):
            if extension.get("url") == LENGTH_OF_STAY_URL and _procedure(extension) == procedure:
                return extension
    return None


def _procedure(extension: Tree) -> str | None:
    codes = (
        part.get("valueCode") for part in extension.get("extension", ()) if part.get("url") == "procedure"
    )
    return next(codes, None)

"""Numbers in searches: the range that a literal covers at its precision.

https://hl7.org/fhir/R4/search.html#number: `100` means [99.5, 100.5), `5.40` means [5.395, 5.405).
"""

import re
from decimal import Decimal
from typing import Final

_PATTERN: Final = re.compile(r"[+-]?\d{1,60}(\.\d{1,60})?([eE][+-]?\d{1,3})?", re.ASCII)


def number(text: str) -> Decimal:
    """Read a decimal literal. Raises ValueError when it is none, or has more digits than any measurement."""
    if not _PATTERN.fullmatch(text):
        raise ValueError(f"{text!r} is not a number")
    return Decimal(text)


def half_width(value: Decimal) -> Decimal:
    """Half of one unit in the last place that the literal of `value` gives."""
    exponent = value.as_tuple().exponent
    return Decimal(5).scaleb(int(exponent) - 1)

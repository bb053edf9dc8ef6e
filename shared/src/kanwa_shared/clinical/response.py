"""The JIVROSG response class of pain, and who is eligible for it.

Source: Kobayashi et al., Ann Oncol 2009;20:1943 (doi 10.1093/annonc/mdp242); the bounds of ME as the JSPM
cancer-pain guideline 2010 prints them (>= 2 and < 5), so that a non-integer score leaves no gap.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Final

RELIEVED_UP_TO: Final = Decimal(2)
SIGNIFICANT_DECREASE: Final = Decimal(5)
MODERATE_DECREASE: Final = Decimal(2)
SCALE_MAX: Final = Decimal(10)
SOURCE: Final = "JIVROSG-0202, doi:10.1093/annonc/mdp242"


class Response(StrEnum):
    """Significantly, moderately, not effective; NA is not evaluable, which is never the same as NE."""

    SE = "SE"
    ME = "ME"
    NE = "NE"
    NA = "NA"


class NotEligibleError(ValueError):
    """The baseline is in the range that counts as relief: no class can be derived from it."""


def is_eligible(baseline: Decimal) -> bool:
    """Whether pain of `baseline` (0-10) leaves relief to be measured: above 2."""
    return baseline > RELIEVED_UP_TO


def classify(baseline: Decimal, follow_up: Decimal | None) -> Response:
    """Response class of two scores (0-10); NA where the follow-up is missing.

    SE, tested first: a decrease of 5 or more, or 2 or less reached. ME: a decrease of 2 to below 5.
    NE: the rest.
    Raises NotEligibleError for a baseline of 2 or less, ValueError off the scale.
    """
    for score in (baseline, follow_up):
        if score is not None and not 0 <= score <= SCALE_MAX:
            raise ValueError(f"{score} is not on the scale 0-10")
    if not is_eligible(baseline):
        raise NotEligibleError(f"a baseline of {baseline} is 2 or less already")
    if follow_up is None:
        return Response.NA
    decrease = baseline - follow_up
    if decrease >= SIGNIFICANT_DECREASE or follow_up <= RELIEVED_UP_TO:
        return Response.SE
    return Response.ME if decrease >= MODERATE_DECREASE else Response.NE

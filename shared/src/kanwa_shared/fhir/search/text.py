"""How strings are compared: without regard to case, accents and the width of spaces.

https://hl7.org/fhir/R4/search.html#string
"""

import re
import unicodedata
from typing import Final

_ACCENTS: Final = re.compile("[\u0300-\u036f]")
_SPACES: Final = re.compile(r"\s+")

HIGHEST: Final = "\U0010ffff"
"""Sorts after every other character: text that starts with `x` lies between `x` and `x` + HIGHEST."""


def normalised(text: str) -> str:
    """Case-folded text without Latin, Greek and Cyrillic accents, compatibility forms and doubled spaces.

    Half-width and full-width kana become one form. The voiced-sound marks of kana stay: they make another
    letter, not an accented one.
    """
    if text.isascii():
        folded = text.lower()
    else:
        decomposed = unicodedata.normalize("NFKD", text)
        folded = unicodedata.normalize("NFKC", _ACCENTS.sub("", decomposed)).casefold()
    return _SPACES.sub(" ", folded).strip()

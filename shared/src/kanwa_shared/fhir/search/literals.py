"""The value syntax of R4 searches: separators, escapes and prefixes.

https://hl7.org/fhir/R4/search.html#escaping
"""

import re
from typing import Final

from kanwa_shared.fhir.search.ranges import PREFIXES, Prefix

_ESCAPED: Final = re.compile(r"\\([,|$\\])")
_PREFIXES: Final[dict[str, Prefix]] = {prefix: prefix for prefix in PREFIXES}


def split(text: str, separator: str) -> list[str]:
    """Parts between unescaped separators; their own escapes stay."""
    if "\\" not in text:
        return text.split(separator)
    parts = [""]
    escaped = False
    for character in text:
        if character == separator and not escaped:
            parts.append("")
            continue
        parts[-1] += character
        escaped = character == "\\" and not escaped
    return parts


def unescaped(text: str) -> str:
    r"""`text` without the backslashes of `\,` `\|` `\$` and `\\`."""
    return _ESCAPED.sub(r"\1", text)


def split_prefix(text: str) -> tuple[Prefix, str]:
    """The prefix before a date or number, `eq` where there is none."""
    prefix = _PREFIXES.get(text[:2])
    return (prefix, text[2:]) if prefix else ("eq", text)

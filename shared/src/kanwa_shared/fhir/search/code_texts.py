"""Where the texts beside a code are, for `:text`: they are read from the stored resource and have no index.

https://hl7.org/fhir/R4/search.html#token: ":text" searches "text associated with the code/value - either
CodeableConcept.text, Coding.display, or Identifier.type.text".
"""

import re
from collections.abc import Iterator
from typing import Final

from kanwa_shared.fhir.search.definitions import SearchParameter

_TEXTS: Final = {
    "CodeableConcept": (".text", ".coding.display"),
    "Coding": (".display",),
    "Identifier": (".type.text",),
}
_FILTER: Final = re.compile(r"\[(\w+)=([\w-]+)\]")


def text_paths(parameter: SearchParameter) -> tuple[str, ...]:
    """SQL/JSON paths (lax: an array stands for its items) of the texts; none where codes have no text."""
    return tuple(dict.fromkeys(_paths(parameter)))


def _paths(parameter: SearchParameter) -> Iterator[str]:
    for path in parameter.paths:
        root = "$." + _FILTER.sub(r' ? (@.\1 == "\2")', path.path)
        for text in _TEXTS.get(path.datatype, ()):
            yield root + text

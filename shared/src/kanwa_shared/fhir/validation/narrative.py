"""The XHTML of a narrative: well formed, in its namespace, and without anything active (R4 txt-1).

What the text of a referral shows is put on other people's screens, so scripts, event attributes and foreign
elements are refused and not cleaned (https://hl7.org/fhir/R4/narrative.html). txt-2, that a narrative is not
blank, is not enforced: HL7's own R4 examples break it, and a blank text misleads nobody.
"""

from typing import Final
from xml.parsers import expat

MAX_CHARACTERS: Final = 1024 * 1024  # R4's limit of a string
NAMESPACE: Final = "http://www.w3.org/1999/xhtml"

# The lists of txt-1's published XPath.
_ELEMENTS_LISTED: Final = """
    a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5
    h6 hr i img li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var
"""
ELEMENTS: Final = frozenset(_ELEMENTS_LISTED.split())
_ATTRIBUTES_LISTED: Final = """
    abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char
    charoff charset cite class colspan compact coords dir frame headers height href hreflang hspace id
    lang longdesc name nowrap rel rev rowspan rules scope shape span src start style summary tabindex
    title type valign value vspace width xml:lang xml:space
"""
ATTRIBUTES: Final = frozenset(_ATTRIBUTES_LISTED.split())
_ACTIVE_SCHEMES: Final = ("javascript:", "vbscript:", "data:text")


def problems(xhtml: str) -> list[str]:
    """What is wrong with the `div` of a narrative; at most one entry per kind of fault."""
    if len(xhtml) > MAX_CHARACTERS:
        return [f"the narrative is longer than {MAX_CHARACTERS} characters (txt-1)."]
    reader = _Reader()
    try:
        reader.read(xhtml)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        place = f"line {error.lineno}, character {error.offset + 1}"
        return [f"the narrative is not well-formed XHTML: {reason} at {place} (txt-1)."]
    return list(dict.fromkeys(reader.problems))


_QUALIFIED: Final = frozenset(f"{NAMESPACE} {name}" for name in ELEMENTS)


class _Reader:
    """Follows one XHTML fragment; entity declarations never get far enough to expand."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._root
        self._parser.StartDoctypeDeclHandler = self._doctype

    def read(self, xhtml: str) -> None:
        """Raises expat.ExpatError when the text is not well-formed XML."""
        try:
            self._parser.Parse(xhtml, True)
        except _Doctype:
            self.problems.append("the narrative has a DOCTYPE declaration (txt-1).")

    def _doctype(self, *_: object) -> None:
        raise _Doctype

    def _root(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        if local != "div":
            self.problems.append(f"the narrative must be a div element, not {local[:20]} (txt-1).")
        self._parser.StartElementHandler = self._element
        self._element(name, attributes)

    def _element(self, name: str, attributes: dict[str, str]) -> None:
        if name not in _QUALIFIED:
            namespace, _, local = name.rpartition(" ")
            if namespace != NAMESPACE:
                self.problems.append(f'the narrative must have xmlns="{NAMESPACE}" on its div (txt-1).')
            if local not in ELEMENTS:
                self.problems.append(f"the narrative cannot have the element {local[:20]} (txt-1).")
        for attribute, value in attributes.items():
            self._attribute(attribute.replace("http://www.w3.org/XML/1998/namespace ", "xml:"), value)

    def _attribute(self, name: str, value: str) -> None:
        if name not in ATTRIBUTES:
            self.problems.append(f"the narrative cannot have the attribute {name[:20]} (txt-1).")
        elif name in ("href", "src") and "".join(value.split()).lower().startswith(_ACTIVE_SCHEMES):
            self.problems.append(f"the narrative cannot have active content in {name} (txt-1).")


class _Doctype(Exception):  # ends the parse, is no error of the program
    """The text declares a document type, and with it possibly entities."""

"""Rules that R4 states in words only and has no constraint for, by the type that they hold for."""

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation import official_search_parameters

Fault = tuple[str, str, str]
"""Issue code, place inside the node (`.entry[0].fullUrl`) and message."""

_LINKS_ONCE: Final = frozenset({"self", "first", "previous", "prev", "next", "last"})
# What clients send to be processed names its entries as it likes; what is read must be resolvable.
_TO_BE_PROCESSED: Final = frozenset({"batch", "transaction"})
# R4 made tokens of what R3 searched as strings, such as Measure.version; HL7's own R4 example still says string.
_TYPES_OF_R3: Final = frozenset({("string", "token")})
_SHOWN: Final = 5


def _attachment(node: Tree) -> Iterator[Fault]:
    """https://hl7.org/fhir/R4/datatypes.html#Attachment: size counts the bytes before base64."""
    text, size = node.get("data"), node.get("size")
    if not isinstance(text, str) or not isinstance(size, int):
        return
    try:
        length = len(base64.b64decode("".join(text.split()), validate=True))
    except binascii.Error:
        return
    if length != size:
        yield "value", ".size", f"says {size} bytes, but data holds {length}."


def _bundle(node: Tree) -> Iterator[Fault]:
    """https://hl7.org/fhir/R4/bundle.html: links, fullUrl, and what a document must hold."""
    kind = str(node.get("type"))
    links = [str(link.get("relation")) for link in _objects(node.get("link"))]
    for relation in sorted(_LINKS_ONCE.intersection(links)):
        if links.count(relation) > 1:
            yield "value", ".link", f"has the relation '{relation}' more than once."
    entries = _objects(node.get("entry"))
    if kind not in _TO_BE_PROCESSED:
        for position, entry in enumerate(entries):
            url = entry.get("fullUrl")
            if isinstance(url, str) and ":" not in url:
                yield "value", f".entry[{position}].fullUrl", "must be absolute, such as a URL or urn:uuid:…."
    if kind == "document" and entries:
        yield from _document(entries)


def _document(entries: list[Tree]) -> Iterator[Fault]:
    """https://hl7.org/fhir/R4/documents.html: what the sections refer to is in the Bundle."""
    known = {name for entry in entries for name in _names(entry)}
    composition = entries[0].get("resource")
    if not isinstance(composition, dict):
        return
    base = str(entries[0].get("fullUrl", "")).rsplit("/", 2)[0]
    for path, literal in _section_references(cast("Tree", composition), ""):
        absolute = literal if ":" in literal else f"{base}/{literal}"
        if literal[:1] != "#" and absolute not in known and literal not in known:
            yield (
                "value",
                f".entry[0].resource{path}",
                "refers to a resource that the document does not hold.",
            )


def _names(entry: Tree) -> Iterator[str]:
    """How references may name an entry: its fullUrl, or that with its version."""
    url = str(entry.get("fullUrl", ""))
    yield url
    resource = entry.get("resource")
    if isinstance(resource, dict):
        tree = cast("Tree", resource)
        meta = tree.get("meta")
        if isinstance(meta, dict) and "versionId" in meta:
            yield f"{url}/_history/{meta['versionId']}"


def _section_references(node: Tree, path: str) -> Iterator[tuple[str, str]]:
    for position, section in enumerate(_objects(node.get("section"))):
        place = f"{path}.section[{position}]"
        yield from _literals(section.get("entry"), f"{place}.entry")
        yield from _section_references(section, place)


def _literals(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for position, item in enumerate(_objects(cast("list[Any]", value))):
            yield from _literals(item, f"{path}[{position}]")
    elif isinstance(value, dict):
        literal = cast("Tree", value).get("reference")
        if isinstance(literal, str):
            yield path, literal


def _capability_search_parameter(node: Tree) -> Iterator[Fault]:
    """CapabilityStatement.rest.resource.searchParam.type: "It SHALL be the same as the type in the search
    parameter definition". Known are the definitions that R4 itself publishes.
    """
    official = official_search_parameters.find(node.get("definition"))
    stated = str(node.get("type"))
    if official and stated != official.type and (stated, official.type) not in _TYPES_OF_R3:
        yield "value", ".type", f"is {stated}, but its definition says {official.type}."


def _search_parameter(node: Tree) -> Iterator[Fault]:
    """SearchParameter.derivedFrom: "the details in the search parameter must be consistent with the definition
    from which it is defined", so it has no other base and no other type.
    """
    official = official_search_parameters.find(node.get("derivedFrom"))
    if official is None:
        return
    if node.get("type") != official.type:
        yield "value", ".type", f"is {node.get('type')}, but what it derives from is a {official.type}."
    for position, base in enumerate(_list(node.get("base"))):
        if base not in official.bases:
            listed = ", ".join(official.bases)
            yield "value", f".base[{position}]", f"is not a base of what it derives from: {listed}."


def _parameters(node: Tree) -> Iterator[Fault]:
    """Relative references between the resources of one Parameters.

    R4 leaves open where they lead, for a Parameters has no address. HL7's validator refuses those that lead
    nowhere inside. Here that is only said where the Parameters carries resources of the type under other ids:
    one that it does not carry at all may well be in the server that it is sent to.
    """
    carried: dict[str, set[str]] = {}
    inside: list[tuple[str, Tree]] = list(_parameter_resources(node, ""))
    for _, resource in inside:
        if isinstance(resource.get("resourceType"), str) and isinstance(resource.get("id"), str):
            carried.setdefault(resource["resourceType"], set()).add(resource["id"])
    for place, resource in inside:
        for path, literal in _all_literals(resource, place):
            name, _, rest = literal.partition("/")
            if name in carried and "/" not in rest and rest not in carried[name]:
                known = ", ".join(f"{name}/{each}" for each in sorted(carried[name])[:_SHOWN])
                yield "value", path, f"'{literal}' is not in these Parameters, which hold {known}."


def _parameter_resources(node: Tree, path: str) -> Iterator[tuple[str, Tree]]:
    for member in ("parameter", "part"):
        for position, parameter in enumerate(_objects(node.get(member))):
            place = f"{path}.{member}[{position}]"
            resource = parameter.get("resource")
            if isinstance(resource, dict):
                yield f"{place}.resource", cast("Tree", resource)
            yield from _parameter_resources(parameter, place)


def _all_literals(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every Reference.reference below a node; a Bundle has its own rules."""
    if isinstance(node, list):
        for position, item in enumerate(cast("list[Any]", node)):
            yield from _all_literals(item, f"{path}[{position}]")
    elif isinstance(node, dict) and cast("Tree", node).get("resourceType") != "Bundle":
        for name, value in cast("Tree", node).items():
            if name == "reference" and isinstance(value, str):
                yield path, value
            else:
                yield from _all_literals(value, f"{path}.{name}")


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _objects(value: Any) -> list[Tree]:
    if not isinstance(value, list):
        return []
    return [cast("Tree", item) for item in cast("list[Any]", value) if isinstance(item, dict)]


RULES: Final[dict[str, Callable[[Tree], Iterator[Fault]]]] = {
    "Attachment": _attachment,
    "Bundle": _bundle,
    "CapabilityStatement.rest.resource.searchParam": _capability_search_parameter,
    "Parameters": _parameters,
    "SearchParameter": _search_parameter,
}

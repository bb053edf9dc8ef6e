"""The entries of a batch or transaction, read and checked before anything is done."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import parse_qsl, quote, urlsplit
from uuid import uuid4

from kanwa_shared.errors import Invalid, Issue
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation import is_resource_type

METHODS: Final = ("DELETE", "POST", "PUT", "PATCH", "GET", "HEAD")  # the specification's processing order
WRITES: Final = frozenset({"DELETE", "POST", "PUT", "PATCH"})
_LOCAL: Final = re.compile(r"(?P<type>[A-Z][A-Za-z]+)(?:/(?P<id>[A-Za-z0-9\-.]{1,64}))?")
_OPERATION: Final = re.compile(r"[A-Z][A-Za-z]+(?:/[A-Za-z0-9\-.]{1,64})?/\$[a-z-]+")
_ASCII: Final = "".join(map(chr, range(128)))
_HEADER_TEXT: Final = re.compile(r"[\x20-\x7e]*")
_REQUEST_HEADERS: Final = {
    "ifMatch": "if-match",
    "ifNoneMatch": "if-none-match",
    "ifModifiedSince": "if-modified-since",
    "ifNoneExist": "if-none-exist",
}


@dataclass(slots=True)
class BundleEntry:
    """One request of a batch or transaction.

    `position` is its place in the Bundle, `id` the id it reads, writes or was given; `url` is relative to the base and
    `query` its parameters. `conditions` are those of its request, as HTTP headers.
    """

    position: int
    method: str
    url: str
    full_url: str | None
    resource: Tree | None
    resource_type: str
    id: str | None
    query: list[tuple[str, str]]
    conditions: dict[str, str]

    @property
    def path(self) -> str:
        """FHIRPath of the entry, for an OperationOutcome."""
        return f"Bundle.entry[{self.position}]"

    @property
    def if_none_exist(self) -> str | None:
        """What a conditional create looks for."""
        return self.conditions.get("if-none-exist")

    @property
    def searches(self) -> bool:
        """Whether a search names what it writes, instead of an id."""
        return self.method in {"PUT", "PATCH", "DELETE"} and self.id is None

    @property
    def target(self) -> str:
        """The path of what it writes, below the base: `Type/id`, or `Type`."""
        return f"{self.resource_type}/{self.id}" if self.id and self.method != "POST" else self.resource_type


def read_entries(bundle: Tree, base_url: str) -> list[BundleEntry]:
    """The entries in the Bundle's order. Raises Invalid with an issue for each that is no request."""
    read = [read_entry(position, entry, base_url) for position, entry in enumerate(bundle.get("entry", []))]
    issues = [entry for entry in read if isinstance(entry, Issue)]
    if issues:
        raise Invalid(issues)
    return [entry for entry in read if isinstance(entry, BundleEntry)]


def read_entry(position: int, written: Tree, base_url: str) -> BundleEntry | Issue:
    """One entry, or what is wrong with its request; only its own shape is looked at."""
    path = f"Bundle.entry[{position}]"
    request: Tree | None = written.get("request")
    if request is None:
        return Issue("required", "each entry of a batch or transaction needs a request", (f"{path}.request",))
    method = str(request.get("method"))
    url = str(request.get("url", "")).removeprefix(base_url).lstrip("/")
    try:
        parts = urlsplit(url)
    except ValueError:
        return Issue("value", "the URL cannot be read", (f"{path}.request.url",))
    if not isinstance(written.get("resource", {}), dict):
        return Issue("structure", "the resource of an entry is a JSON object", (f"{path}.resource",))
    if method not in METHODS:
        return Issue("value", f"method {method} is not served in a Bundle", (f"{path}.request.method",))
    if parts.scheme or parts.netloc or parts.fragment or ".." in parts.path or "\\" in url:
        return Issue("value", f"{url} is no URL below this server's base", (f"{path}.request.url",))
    found = _LOCAL.fullmatch(parts.path)
    resource_type = found["type"] if found else parts.path.partition("/")[0]
    conditions = {
        header: _in_ascii(str(request[name]), encoded=name == "ifNoneExist")
        for name, header in _REQUEST_HEADERS.items()
        if name in request
    }
    for name, header in _REQUEST_HEADERS.items():
        if not _HEADER_TEXT.fullmatch(conditions.get(header, "")):
            text = f"{name} is one line of ASCII text, as the HTTP header of this name would be"
            return Issue("value", text, (f"{path}.request.{name}",))
    entry = BundleEntry(
        position,
        method,
        url,
        written.get("fullUrl"),
        written.get("resource"),
        resource_type,
        found["id"] if found else None,
        parse_qsl(parts.query, keep_blank_values=True),
        conditions,
    )
    calls = method == "POST" and _OPERATION.fullmatch(parts.path) is not None
    if method not in WRITES or calls:
        return entry
    return _fault_of_write(entry, written_at=found is not None) or entry


def _in_ascii(text: str, *, encoded: bool) -> str:
    """The text for a header: in a search, what is not ASCII is percent-encoded as in a URL."""
    return quote(text, safe=_ASCII) if encoded else text


def _fault_of_write(entry: BundleEntry, *, written_at: bool) -> Issue | None:
    """What is wrong with an entry that writes, by its URL and the type and id of its resource."""
    method, resource_type, resource = entry.method, entry.resource_type, entry.resource
    if not written_at or not is_resource_type(resource_type) or (method == "POST" and entry.id is not None):
        text = f"{method} {entry.url} names no R4 type and id that kanwa serves"
        return Issue("not-supported", text, (f"{entry.path}.request.url",))
    if entry.searches and not entry.query:
        text = f"{method} {entry.url} needs an id, or a search that names one resource"
        return Issue("required", text, (f"{entry.path}.request.url",))
    given = resource.get("resourceType") if resource is not None else None
    expected = {"POST": (resource_type,), "PUT": (resource_type,), "PATCH": ("Binary", "Parameters")}.get(
        method
    )
    if expected and given not in expected:
        text = f"{method} {entry.url} needs a resource of type {' or '.join(expected)}"
        return Issue("invalid", text, (f"{entry.path}.resource",))
    if method == "PUT" and entry.id is not None and resource is not None and resource.get("id") != entry.id:
        text = f"the id of the resource is '{resource.get('id', '')}', and the URL says '{entry.id}'; they must agree"
        return Issue("invariant", text, (f"{entry.path}.resource.id",))
    return None


def assign_ids(entries: list[BundleEntry]) -> dict[str, str]:
    """Give what is new and has no id one; returns the map from fullUrl to `Type/id` for what the Bundle writes.

    Raises Invalid if two entries write the same resource or carry the same fullUrl.
    """
    targets: dict[str, str] = {}
    written: set[str] = set()
    issues: list[Issue] = []
    for entry in entries:
        if entry.method in {"POST", "PUT"} and entry.id is None:
            entry.id = str(uuid4())
        if entry.method not in WRITES or entry.id is None:
            continue
        reference = f"{entry.resource_type}/{entry.id}"
        if reference in written:
            issues.append(Issue("duplicate", f"{reference} is written twice", (f"{entry.path}.request.url",)))
        written.add(reference)
        names_it = entry.full_url and entry.method in {"POST", "PUT"}
        if names_it and targets.setdefault(entry.full_url or "", reference) != reference:
            issues.append(Issue("duplicate", "this fullUrl appears twice", (f"{entry.path}.fullUrl",)))
    if issues:
        raise Invalid(issues)
    return targets


def point_references(tree: Tree, targets: dict[str, str]) -> None:
    """Replace, in place, every reference to a fullUrl of the Bundle by the `Type/id` it was given.

    A `urn:` value is replaced wherever a uri, url or reference may stand; other fullUrls in references only.
    """
    for holder, name, value in _strings(tree):
        target = targets.get(value)
        if target is not None and (name == "reference" or value.startswith("urn:")):
            holder[name] = target


def check_local_references(entries: list[BundleEntry], targets: dict[str, str]) -> None:
    """Raise Invalid for each reference to a `urn:` that no entry bears: once stored it could never be resolved."""
    issues = [
        Issue("not-found", f"'{value}' is the fullUrl of no entry that writes", (f"{entry.path}.resource",))
        for entry in entries
        for _, name, value in _strings(entry.resource)
        if name == "reference" and value.startswith(("urn:uuid:", "urn:oid:")) and value not in targets
    ]
    if issues:
        raise Invalid(issues)


def conditional_references(tree: Tree) -> Iterator[tuple[dict[str, Any], str]]:
    """References such as `Practitioner?identifier=…`: the Reference object and the search."""
    for holder, name, value in _strings(tree):
        if name == "reference" and re.match(r"^[A-Z][A-Za-z]+\?", value):
            yield holder, value


def _strings(node: Any) -> Iterator[tuple[dict[str, Any], str, str]]:
    if isinstance(node, dict):
        members = cast(dict[str, Any], node)
        for name, value in list(members.items()):
            if isinstance(value, str):
                yield members, name, value
            else:
                yield from _strings(value)
    elif isinstance(node, list):
        for item in cast(list[Any], node):
            yield from _strings(item)

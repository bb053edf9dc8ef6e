"""FHIR JSON text: read without loss, written without loss.

FHIR gives the digits of a decimal a meaning (https://hl7.org/fhir/R4/datatypes.html#decimal): `1.50` is
not `1.5`. So decimals keep their literal, and what is stored of a resource is its received text, with only
its identity changed.
"""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final, NoReturn, TypeVar, cast

import msgspec

from kanwa_shared.errors import Issue, Unparsable
from kanwa_shared.fhir.json_types import Tree

MAX_DEPTH: Final = 64
"""Objects and lists inside one another: far above what resources need, far below the limit of the stack."""

_BOM: Final = b"\xef\xbb\xbf"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_EXCERPT_CHARACTERS: Final = 20

_T = TypeVar("_T")


class JsonDecimal(Decimal):
    """A JSON number with a fraction or an exponent, and the literal it was written with.

    Compares and computes as the Decimal it is: `JsonDecimal("1.50") == Decimal("1.5")`.
    """

    __slots__ = ("literal",)
    literal: str

    def __new__(cls, literal: str) -> "JsonDecimal":
        """Raise decimal.InvalidOperation when the exponent is beyond what Decimal can hold."""
        self = super().__new__(cls, literal)
        self.literal = literal
        return self

    def __reduce__(self) -> tuple[type["JsonDecimal"], tuple[str]]:
        return JsonDecimal, (self.literal,)

    def __copy__(self) -> "JsonDecimal":
        return self

    def __deepcopy__(self, _memo: Any) -> "JsonDecimal":
        return self


def parse(body: bytes, *, max_depth: int = MAX_DEPTH) -> Tree:
    """Read one FHIR JSON object; every number, string and member as it was written.

    A UTF-8 byte order mark before the object is dropped. Raises `Unparsable`, with one issue per fault: text
    that is not UTF-8 or not JSON, content after the object, duplicate members, NUL characters and lone
    surrogates, NaN and Infinity, a number out of range, more than `max_depth` levels, or not an object.
    """
    document = parse_document(body, max_depth=max_depth)
    if document.__class__ is not dict:
        raise Unparsable(f"A FHIR resource is a JSON object; this document is {_kind(document)}.")
    return cast("Tree", document)


def parse_document(body: bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """Read one JSON document of any kind with the same care: a JSON Patch is an array."""
    text = _decoded(body)
    document = _read_fast(body)
    if body.count(b"{") + body.count(b"[") > max_depth:  # else it cannot be deeper than it has openings
        if document is not None and not _deeper_than(max_depth, document):
            return document
        _refuse_depth(text, max_depth)
    return document if document is not None else _read_exactly(body, text)


def _read_fast(body: bytes) -> Any:
    """Read what has nothing unusual in it; None sends the document to the exact reader.

    msgspec keeps the last of duplicate members without a word. But a dropped member takes the quotes of its
    name with it, so writing the tree again gives fewer quotes than were received, unless an escaped quote
    makes up for them; such documents, and those with the integer -0, go to the exact reader.
    """
    if b"\\u00" in body or _MINUS_ZERO.search(body):
        return None
    try:
        document = _FAST_READER.decode(body.removeprefix(_BOM))
        written = _WRITER.encode(document)
    except (msgspec.DecodeError, InvalidOperation, ValueError, RecursionError):
        return None
    return document if written.count(b'"') == body.count(b'"') else None


def _read_exactly(body: bytes, text: str) -> Any:
    try:
        document = _EXACT_READER.decode(text)
    except _Suspicious:
        raise Unparsable(_faults_inside(text)) from None
    except json.JSONDecodeError as error:
        raise Unparsable(_syntax(text, error)) from None
    if b"\\u" in body and (b"\\u0000" in body or _SURROGATE_ESCAPE.search(body)):
        _refuse_characters(document)
    return document


def dumps(tree: Tree) -> bytes:
    """Write a tree as compact UTF-8 JSON; decimals keep their literal, nothing outside ASCII is escaped.

    Raises TypeError for a value that JSON has no form for, ValueError for a NaN or infinite Decimal.
    """
    return _WRITER.encode(tree)


def with_identity(body: bytes, *, resource_type: str, id: str, version: int, last_updated: datetime) -> bytes:
    """Give a received resource its identity: the text with `id`, `meta.versionId` and `meta.lastUpdated` set.

    All other members keep their bytes, those of `meta` too; the order is resourceType, id, meta, the rest.
    `body` is what `parse` accepted and `last_updated` is aware; it is written in UTC.
    """
    members = _MEMBERS.decode(body.removeprefix(_BOM))
    received_meta = members.pop("meta", None)
    meta: dict[str, Any] = {}
    if received_meta is not None:
        meta.update(_MEMBERS.decode(received_meta))
    meta["versionId"] = str(version)
    meta["lastUpdated"] = instant(last_updated)
    members.pop("resourceType", None)
    members.pop("id", None)
    identified: dict[str, Any] = {"resourceType": resource_type, "id": id, "meta": meta}
    identified.update(members)
    return _WRITER.encode(identified)


# A change set stamps all of its resources with one moment.
@lru_cache(maxsize=256)
def instant(moment: datetime) -> str:
    """Write an aware datetime as a FHIR instant in UTC, in milliseconds, or microseconds if it has them."""
    precision = "microseconds" if moment.microsecond % 1000 else "milliseconds"
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec=precision).removesuffix("+00:00") + "Z"


class _Suspicious(Exception):  # a signal between the reader and parse, never seen outside
    """The fast reader met something that only the slow look can name with its place."""


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(members)
    if len(tree) != len(members):
        raise _Suspicious
    return tree


def _integer(literal: str) -> int | JsonDecimal:
    if literal == "-0":  # int would drop the sign
        return JsonDecimal(literal)
    try:
        return int(literal)
    except ValueError:  # more digits than Python converts
        raise _Suspicious from None


def _fraction(literal: str) -> JsonDecimal:
    try:
        return JsonDecimal(literal)
    except InvalidOperation:
        raise _Suspicious from None


def _constant(_name: str) -> NoReturn:
    raise _Suspicious


_EXACT_READER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
)
_FAST_READER: Final = msgspec.json.Decoder(Any, float_hook=JsonDecimal)
_MINUS_ZERO: Final = re.compile(rb"-0[\s,}\]]")
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _write_unknown(value: Any) -> Any:
    if isinstance(value, JsonDecimal):
        return msgspec.Raw(value.literal.encode())
    raise TypeError(f"JSON has no form for {type(value).__name__}")


_WRITER: Final = msgspec.json.Encoder(enc_hook=_write_unknown, decimal_format="number")


def _decoded(body: bytes) -> str:
    try:
        return body.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        place = f"byte {error.start + 1}"
        raise Unparsable(f"The document is not UTF-8: {error.reason} at {place}. Send it as UTF-8.") from None


def _deeper_than(limit: int, document: Any) -> bool:
    level: list[Any] = [document]
    for _ in range(limit):
        level = [
            value
            for node in level
            for value in (node.values() if node.__class__ is dict else node)
            if value.__class__ is dict or value.__class__ is list
        ]
        if not level:
            return False
    return True


def _refuse_depth(text: str, limit: int) -> None:
    depth = 0
    for token in _BRACKETS_OUTSIDE_STRINGS.finditer(text):
        character = token.group()
        if character in "{[":
            depth += 1
            if depth > limit:
                place = _line_and_column(text, token.start())
                raise Unparsable(
                    f"The document is nested more than {limit} levels deep ({place}).", code="too-costly"
                )
        elif character in "}]":
            depth -= 1


_BRACKETS_OUTSIDE_STRINGS: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}\[\]]', re.DOTALL)


def _line_and_column(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    return f"line {line}, column {position - text.rfind(chr(10), 0, position)}"


def _syntax(text: str, error: json.JSONDecodeError) -> str:
    place = _line_and_column(text, error.pos)
    found = text[error.pos : error.pos + _EXCERPT_CHARACTERS]
    problem = error.msg[:1].lower() + error.msg[1:].removesuffix(" at")
    what = "there is content after the end of the object" if error.msg == "Extra data" else problem
    where = f"before {found!r}" if found else "where it ends"
    return f"The document is not JSON: {what} at {place}, {where}."


def _kind(value: Any) -> str:
    names: dict[type[object], str] = {
        list: "an array",
        str: "a string",
        bool: "a boolean",
        type(None): "null",
    }
    return names.get(cast("type[object]", type(value)), "a number")


class _Fault:
    """Stands in the slowly read tree where a number could not be read."""

    def __init__(self, diagnostics: str):
        self.diagnostics = diagnostics


class _Members(list[tuple[str, Any]]):
    """An object with its duplicate members kept."""


def _or_fault(read: Callable[[str], _T], problem: str) -> Callable[[str], _T | _Fault]:
    def attempt(literal: str) -> _T | _Fault:
        try:
            return read(literal)
        except _Suspicious:
            shown = literal if len(literal) <= _EXCERPT_CHARACTERS else literal[:_EXCERPT_CHARACTERS] + "…"
            return _Fault(f"{shown} {problem}.")

    return attempt


_SLOW_READER: Final = json.JSONDecoder(
    object_pairs_hook=_Members,
    parse_int=_or_fault(_integer, "has more digits than this server reads"),
    parse_float=_or_fault(_fraction, "is outside the range of numbers that this server reads"),
    parse_constant=_or_fault(_constant, "is not a JSON number"),
)


def _faults_inside(text: str) -> list[Issue]:
    """Read again, slowly, and name each fault with its place."""
    try:
        document = _SLOW_READER.decode(text)
    except json.JSONDecodeError as error:
        return [Issue("structure", _syntax(text, error))]
    return list(_faults(document, _root_of(document)))


def _root_of(document: Any) -> str:
    if isinstance(document, _Members):
        name = dict(document).get("resourceType")
        if isinstance(name, str) and name.isidentifier():
            return name
    return "$this"


def _faults(value: Any, path: str) -> Iterator[Issue]:
    if isinstance(value, _Fault):
        yield Issue("value", f"{path}: {value.diagnostics}", (path,))
    elif isinstance(value, _Members):
        seen: set[str] = set()
        for name, member in value:
            if name in seen:
                yield Issue("structure", f"{path} has '{name}' more than once.", (f"{path}.{name}",))
            seen.add(name)
            yield from _faults(member, f"{path}.{name}")
    elif isinstance(value, list):
        for position, item in enumerate(cast("list[Any]", value)):
            yield from _faults(item, f"{path}[{position}]")


def _refuse_characters(document: Any) -> None:
    root = cast("Tree", document).get("resourceType") if isinstance(document, dict) else None
    found = list(
        _character_faults(document, root if isinstance(root, str) and root.isidentifier() else "$this")
    )
    if found:
        raise Unparsable(found)


def _character_faults(value: Any, path: str) -> Iterator[Issue]:
    if isinstance(value, str):
        yield from _faults_of_string(value, path)
    elif isinstance(value, dict):
        for name, member in cast("Tree", value).items():
            yield from _faults_of_string(name, path)
            yield from _character_faults(member, f"{path}.{name}")
    elif isinstance(value, list):
        for position, item in enumerate(cast("list[Any]", value)):
            yield from _character_faults(item, f"{path}[{position}]")


def _faults_of_string(text: str, path: str) -> Iterator[Issue]:
    if "\x00" in text:
        yield Issue("value", f"{path} holds U+0000, which FHIR strings cannot contain.", (path,))
    if _SURROGATE.search(text):
        yield Issue("value", f"{path} holds half of a surrogate pair.", (path,))

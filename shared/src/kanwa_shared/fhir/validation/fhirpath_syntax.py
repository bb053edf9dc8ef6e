"""Reads the FHIRPath of R4's published constraints, and of patches, into a tree (http://hl7.org/fhirpath/N1/).

The grammar is FHIRPath's, without what no R4 constraint and no FHIRPath Patch uses: arithmetic other than + and &,
date literals, quantities.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number or boolean."""

    value: str | int | Decimal | bool


@dataclass(frozen=True, slots=True)
class Variable:
    """`$this` or an environment variable such as `%resource`."""

    name: str


@dataclass(frozen=True, slots=True)
class Child:
    """The element `name` of each item of `base`; `base` None is the current focus."""

    base: "Node | None"
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function on `base`; `base` None is the current focus."""

    base: "Node | None"
    name: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Index:
    """The item of `base` at `position`, from 0."""

    base: "Node"
    position: int


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two expressions."""

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class TypeTest:
    """`left is Type` or `left as Type`."""

    operator: str
    left: "Node"
    type_name: str


Node: TypeAlias = Literal | Variable | Child | Call | Index | Binary | TypeTest

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')|(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z_]\w*|`[^`]+`)"
    r"|(?P<variable>%\w+|\$this)|(?P<operator><=|>=|!=|[.(),=<>+&|\[\]]))"
)
# From loosest to tightest, as FHIRPath lists them.
_LEVELS: Final[tuple[frozenset[str], ...]] = (
    frozenset({"implies"}),
    frozenset({"or", "xor"}),
    frozenset({"and"}),
    frozenset({"in", "contains"}),
    frozenset({"=", "!="}),
    frozenset({"<", "<=", ">", ">="}),
    frozenset({"|"}),
    frozenset({"is", "as"}),
    frozenset({"+", "&"}),
)
_INDEX_DIGITS: Final = 7
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}


class FhirPathSyntaxError(ValueError):
    """The text is outside the grammar above."""


def parse(expression: str) -> Node:
    """The tree of an expression; raises FhirPathSyntaxError."""
    return _Parser(_tokens(expression)).whole()


def _tokens(expression: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    text = expression.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise FhirPathSyntaxError(f"unexpected {text[position:][:10]!r} in {expression!r}")
        kind = match.lastgroup or ""
        tokens.append((kind, match[kind]))
        position = match.end()
    return [*tokens, ("end", "")]


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]):
        self._tokens = tokens
        self._position = 0

    def whole(self) -> Node:
        node = self._level(0)
        if self._kind() != "end":
            raise FhirPathSyntaxError(f"unexpected {self._text()!r}")
        return node

    def _kind(self) -> str:
        return self._tokens[self._position][0]

    def _text(self) -> str:
        return self._tokens[self._position][1]

    def _take(self) -> str:
        text = self._text()
        self._position += 1
        return text

    def _expect(self, text: str) -> None:
        if self._take() != text:
            raise FhirPathSyntaxError(f"expected {text!r}")

    def _level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._path()
        node = self._level(level + 1)
        while self._kind() in ("name", "operator") and self._text() in _LEVELS[level]:
            operator = self._take()
            if operator in ("is", "as"):
                node = TypeTest(operator, node, self._take())
            else:
                node = Binary(operator, node, self._level(level + 1))
        return node

    def _path(self) -> Node:
        node = self._term()
        while self._kind() == "operator" and self._text() in (".", "["):
            node = self._index(node) if self._take() == "[" else self._invocation(node)
        return node

    def _index(self, base: Node) -> Node:
        position = self._take()
        if not (position.isascii() and position.isdigit() and len(position) < _INDEX_DIGITS):
            raise FhirPathSyntaxError(f"expected a position, found {position!r}")
        self._expect("]")
        return Index(base, int(position))

    def _term(self) -> Node:
        kind, text = self._tokens[self._position]
        if text == "(" and kind == "operator":
            self._take()
            node = self._level(0)
            self._expect(")")
            return node
        if kind == "string":
            return Literal(_unescaped(self._take()[1:-1]))
        if kind == "number":
            self._take()
            return Literal(Decimal(text) if "." in text else int(text))
        if kind == "variable":
            return Variable(self._take())
        if text in ("true", "false"):
            return Literal(self._take() == "true")
        return self._invocation(None)

    def _invocation(self, base: Node | None) -> Node:
        if self._kind() != "name":
            raise FhirPathSyntaxError(f"expected a name, found {self._text()!r}")
        name = self._take().strip("`")
        if self._kind() != "operator" or self._text() != "(":
            return Child(base, name)
        self._take()
        arguments: list[Node] = []
        while self._text() != ")":
            arguments.append(self._level(0))
            if self._text() == ",":
                self._take()
        self._take()
        return Call(base, name, tuple(arguments))


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text)

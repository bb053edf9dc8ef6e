"""Random nodes of R4 types, drawn from the validator's tables, that keep or break a given constraint."""

import random
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation.definitions import Invariant, Member, Part, part

_MAX_DEPTH = 4
# Elements that a rule reaches by descendants() or children(), so without naming them.
_INSIDE = {"que-2": {"item"}, "sdf-9": {"snapshot", "differential"}}
_TIMES = {
    "date": ["2031-03-01", "2031-03-05"],
    "dateTime": ["2031-03-01T09:00:00Z", "2031-03-05T09:00:00Z"],
    "instant": ["2031-03-01T09:00:00Z", "2031-03-05T09:00:00Z"],
    "time": ["09:00:00", "10:00:00"],
}
_NUMBERS: dict[str, list[int | Decimal]] = {
    "decimal": [Decimal("-1.5"), 0, 1, Decimal("2.5"), 150],
    "integer": [-1, 0, 1, 2],
    "unsignedInt": [0, 1, 2],
    "positiveInt": [1, 2],
}


class NodeGenerator:
    """Draws nodes whose elements, codes and texts are likely to be those that `rule` speaks of."""

    def __init__(self, rule: Invariant, seed: int):
        self._random = random.Random(seed)
        self._wanted = set(re.findall(r"[A-Za-z]\w*", re.sub(r"'(?:[^'\\]|\\.)*'", "", rule.expression)))
        self._texts = [
            re.sub(r"\\(.)", r"\1", text) for text in re.findall(r"'((?:[^'\\]|\\.)*)'", rule.expression)
        ]
        if "toInteger" in rule.expression:
            self._texts += ["0", "2"]
        self._wanted |= _INSIDE.get(rule.key, set())
        self._texts = [text for text in self._texts if re.fullmatch(r"\S+", text)]

    def node(self, kind: Part, depth: int = 0) -> Tree:
        """An object of the type; not valid in all respects, but its elements have their right JSON types."""
        found: Tree = {"resourceType": kind.name} if kind.is_resource else {}
        required = {name for name, _ in kind.required}
        taken: set[str] = set()
        members = [member for member in kind.members.values() if not member.sibling]
        self._random.shuffle(members)
        for member in members:
            if member.element not in taken and self._present(member, required, depth):
                found[member.key] = self._value(member, depth)
            taken.add(member.element)
        if not found:  # an empty object does not exist in FHIR
            member = next((each for each in members if each.test is not None), members[0])
            found[member.key] = self._value(member, depth) if member.test is not None else []
        return found

    def _present(self, member: Member, required: set[str], depth: int) -> bool:
        if member.element in ("contained", "modifierExtension", "extension", "text", "meta"):
            return member.element in self._wanted and depth < 1 and self._random.random() < 0.3
        if depth >= _MAX_DEPTH and member.test is None:
            return False
        if member.element in self._wanted or member.key in self._wanted:
            return self._random.random() < (0.6 if depth == 0 else 0.85)
        return member.element in required and self._random.random() < 0.9

    def _value(self, member: Member, depth: int) -> Any:
        if not member.many:
            return self._one(member, depth)
        return [self._one(member, depth) for _ in range(self._random.choice((1, 1, 2, 3)))]

    def _one(self, member: Member, depth: int) -> Any:
        if member.test is None:
            if member.type_name == "Resource":
                name = self._random.choice(("Patient", "Composition", "MessageHeader", "Observation"))
                return {"resourceType": name, "id": self._random.choice("ab")}
            return self.node(member.part, depth + 1)
        return self._primitive(member)

    def _primitive(self, member: Member) -> Any:
        choose = self._random.choice
        if member.type_name == "boolean":
            return choose((True, False))
        for table in (_NUMBERS, _TIMES):
            if member.type_name in table:
                return choose(table[member.type_name])
        pool = self._texts
        if member.flat_codes is not None:
            named = [code for code in self._texts if code in member.flat_codes]
            pool = named + self._random.sample(sorted(member.flat_codes), 1)
        return choose(pool + ["a", "b"][: 1 if pool else 2] if member.flat_codes is None else pool)


def nodes_with_resource(kind: Part, rule: Invariant, seed: int) -> Iterator[tuple[Tree, Tree]]:
    """Nodes of the part and the resource around each; the node itself where the rule looks no further."""
    generator = NodeGenerator(rule, seed)
    if "%resource" not in rule.expression or "." not in kind.name:
        node = generator.node(kind)
        yield node, node
        return
    root, *steps = kind.name.split(".")
    generator._wanted.update(steps)
    resource = generator.node(part(root))
    for node in _at(resource, steps):
        yield node, resource


def _at(node: Any, steps: list[str]) -> Iterator[Tree]:
    if isinstance(node, list):
        for item in node:
            yield from _at(item, steps)
    elif not steps:
        yield node
    elif steps[0] in node:
        yield from _at(node[steps[0]], steps[1:])

"""Walks a resource once along R4's element tables and collects every fault with its FHIRPath."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Final, cast

from kanwa_shared.errors import Issue
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation import bindings, invariants, narrative, primitives, prose_rules, references
from kanwa_shared.fhir.validation.definitions import Member, Part, part
from kanwa_shared.fhir.validation.resource_types import RESOURCE_TYPES
from kanwa_shared.fhir.validation.scope import Scope

MAX_ISSUES: Final = 200
"""A client learns no more from further issues, and a hostile document must not cost more than it is long."""

_LONGEST_NAME_CHARACTERS: Final = 64  # no R4 name is longer, and comparing names is quadratic
_NOT_R4: Final = {"fhir_comments": "comments are not part of R4; remove it"}


class TooManyIssues(Exception):  # ends the walk, is no error of the program
    """The walk found `MAX_ISSUES` faults."""


class Walker:
    """The faults of one document, in document order."""

    __slots__ = ("issues",)

    def __init__(self) -> None:
        self.issues: list[Issue] = []

    def report(self, code: str, path: str, message: str) -> None:
        """Note one fault; raises TooManyIssues when there are enough."""
        self.issues.append(Issue(code, f"{path}: {message}", (path,)))
        if len(self.issues) >= MAX_ISSUES:
            raise TooManyIssues

    def resource(self, node: Any, path: str, container: Scope | None = None) -> None:
        """Check a resource: the document (empty `path`), a contained one, or that of a Bundle entry."""
        if node.__class__ is not dict:
            self.report("structure", path, f"expected a resource, found {primitives.describe(node)}.")
            return
        tree = cast("Tree", node)
        name = tree.get("resourceType")
        if name.__class__ is not str or name not in RESOURCE_TYPES:
            self._unknown_resource(name, path)
            return
        scope = Scope(tree, container)
        self._object(tree, part(cast("str", name)), path or cast("str", name), scope)
        for fault in scope.faults():
            self.report("invariant", f"{path or name}.contained[{fault.position}]", fault.message)

    def _unknown_resource(self, name: Any, path: str) -> None:
        place = f"{path}.resourceType" if path else "resourceType"
        if name is None:
            self.report("required", place, "required: it says which R4 resource this is.")
        elif isinstance(name, str):
            self.report(
                "not-supported", place, f"'{name[:40]}' is not a resource type that this server offers."
            )
        else:
            self.report("structure", place, f"expected a string, found {primitives.describe(name)}.")

    def _object(self, node: Tree, kind: Part, path: str, scope: Scope) -> None:
        members = kind.members
        choices: dict[str, str] | None = None
        before = len(self.issues)
        for key, value in node.items():
            member = members.get(key)
            if member is None:
                if key != "resourceType" or not kind.is_resource:
                    self._unknown_element(key, kind, path)
                continue
            if member.choice:
                choices = {} if choices is None else choices
                self._one_type(member, choices, path)
            if member.many:
                self._list(node, member, value, path, scope)
            elif member.test is None:
                if member.sibling:
                    self._sibling(node, member, value, f"{path}.{member.element}")
                self._complex(member, value, f"{path}.{member.element}", scope)
            elif not member.test(value):
                self._wrong_primitive(member, value, f"{path}.{member.element}")
            elif member.special and (member.special == 1 or scope.has_contained):
                self._special(member, value, f"{path}.{member.element}", scope)
        for name, keys in kind.required:
            if keys[0] not in node and not any(key in node for key in keys):
                self.report("required", f"{path}.{name}", f"required: {kind.name} must have it.")
        if kind.invariants or kind.prose_rules or len(node) == 1:
            self._rules(node, kind, path, scope, clean=len(self.issues) == before)

    def _one_type(self, member: Member, choices: dict[str, str], path: str) -> None:
        key = member.key.lstrip("_")
        other = choices.setdefault(member.element, key)
        if other != key:
            self.report(
                "structure", f"{path}.{member.element}", f"has two types, {other} and {key}; keep one."
            )

    def _unknown_element(self, key: str, kind: Part, path: str) -> None:
        if key in _NOT_R4:
            self.report("structure", f"{path}.{key}", f"{_NOT_R4[key]}.")
            return
        near = get_close_matches(key, kind.members, n=1) if len(key) < _LONGEST_NAME_CHARACTERS else []
        hint = f"; did you mean '{near[0]}'?" if near else "."
        place = f"{path}.{key}" if key.isidentifier() and len(key) < _LONGEST_NAME_CHARACTERS else path
        self.report("structure", place, f"R4 has no element '{key[:60]}' in {kind.name}{hint}")

    def _list(self, node: Tree, member: Member, value: Any, path: str, scope: Scope) -> None:
        place = f"{path}.{member.element}"
        if value.__class__ is not list:
            self.report(
                "structure", place, f"repeats, so expected an array, found {primitives.describe(value)}."
            )
            return
        items = cast("list[Any]", value)
        if not items:
            self.report("structure", place, "is an empty array; leave the member out.")
            return
        beside = self._beside(node, member, items, place)
        test = member.test
        for position, item in enumerate(items):
            if item is None and position < len(beside) and beside[position] is not None:
                continue
            if test is None:
                self._complex(member, item, f"{place}[{position}]", scope)
            elif not test(item):
                self._wrong_primitive(member, item, f"{place}[{position}]")
            elif member.special and (member.special == 1 or scope.has_contained):
                self._special(member, item, f"{place}[{position}]", scope)

    def _beside(self, node: Tree, member: Member, items: list[Any], place: str) -> list[Any]:
        """The array that fills the nulls of a primitive's array: its `_` sibling's, or the other way."""
        if member.test is None and not member.sibling:
            return []
        other = node.get(member.key[1:] if member.sibling else f"_{member.key}")
        if other.__class__ is not list:
            return []
        beside = cast("list[Any]", other)
        if member.sibling and len(beside) != len(items):
            self.report(
                "structure",
                place,
                f"the arrays '{member.key[1:]}' and '{member.key}' differ in length; pad with null.",
            )
        return beside

    def _sibling(self, node: Tree, member: Member, value: Any, path: str) -> None:
        """A primitive without value must have extensions; an id beside a value is enough."""
        if member.key[1:] not in node and isinstance(value, dict) and "extension" not in value:
            self.report("invariant", path, "has neither a value nor an extension (ele-1).")

    def _wrong_primitive(self, member: Member, value: Any, path: str) -> None:
        expected = primitives.expectation(member.type_name)
        code = (
            "value" if primitives.is_right_json_type(member.type_name, value) and value != "" else "structure"
        )
        self.report(
            code, path, f"expected {expected} ({member.type_name}), found {primitives.describe(value)}."
        )

    def _special(self, member: Member, value: Any, path: str, scope: Scope) -> None:
        if member.flat_codes is not None and value not in member.flat_codes:
            self.report("code-invalid", path, bindings.refusal(member, str(value)))
        if member.type_name == "xhtml":
            for problem in narrative.problems(value):
                self.report("invariant", path, problem)
        elif value.__class__ is str and value[0] == "#":
            scope.refer(value[1:])
        self._element_rules(member, value, path, scope)

    def _complex(self, member: Member, value: Any, path: str, scope: Scope) -> None:
        if value.__class__ is not dict:
            self.report("structure", path, f"expected an object, found {primitives.describe(value)}.")
            return
        if not value:
            self.report("structure", path, "is an empty object; leave the member out.")
            return
        if member.plain:
            self._object(value, member.part, path, scope)
            return
        if member.type_name == "Resource":
            self.resource(value, path, scope if member.key == "contained" else None)
            return
        before = len(self.issues)
        self._object(value, member.part, path, scope)
        if len(self.issues) != before:
            return
        if member.type_name == "Reference":
            for code, problem in references.problems(value, member.targets, scope):
                self.report(code, path, problem)
        if member.codes is not None and (refused := bindings.refused(member, value)):
            self.report("code-invalid", path, refused)
        self._element_rules(member, value, path, scope)

    def _element_rules(self, member: Member, value: Any, path: str, scope: Scope) -> None:
        for rule in member.invariants:
            if not invariants.holds(rule, value, scope):
                self.report("invariant", path, f"{rule.human} ({rule.key}).")

    def _prose_rules(self, node: Tree, kind: Part, path: str) -> None:
        for name in kind.prose_rules:
            for code, place, message in prose_rules.RULES[name](node):
                self.report(code, f"{path}{place}", message)

    def _rules(self, node: Tree, kind: Part, path: str, scope: Scope, *, clean: bool) -> None:
        if len(node) == 1 and "id" in node and not kind.is_resource and kind.name != "Element":
            self.report("invariant", path, "has an id but neither a value nor children (ele-1).")
        self._prose_rules(node, kind, path)
        for rule in kind.invariants:
            if not invariants.holds(rule, node, scope, clean=clean):
                self.report("invariant", path, f"{rule.human} ({rule.key}).")


def walk(tree: Tree) -> list[Issue]:
    """All faults of a resource against R4 itself, at most `MAX_ISSUES`."""
    walker = Walker()
    try:
        walker.resource(tree, "")
    except TooManyIssues:
        walker.issues.append(Issue("too-costly", f"Stopped after {MAX_ISSUES} issues; correct these first."))
    return walker.issues


def warm(types: Iterable[str]) -> None:
    """Load the tables and rules of the types and of every type inside them."""
    waiting = [part(name) for name in types]
    known = {kind.name for kind in waiting}
    while waiting:
        kind = waiting.pop()
        for rule in kind.invariants:
            invariants.compiled(rule)
        for member in kind.members.values():
            if member.test is None and member.type_name != "Resource" and member.part_name not in known:
                known.add(member.part_name)
                waiting.append(member.part)

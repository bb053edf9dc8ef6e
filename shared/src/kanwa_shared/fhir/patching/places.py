"""Evaluates the FHIRPath of a patch to places in a tree.

Paths walk along elements; conditions inside `where()` may use the functions that are listed here. Others, such as
`matches()` with a pattern of the client's, could take any time. A condition sees its element alone, not
`%resource`, so that its cost is that of the element; all that a patch may cost together is a `Budget`.
"""

from typing import Final, cast

from kanwa_shared.errors import Invalid
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.patching.budget import Budget
from kanwa_shared.fhir.patching.elements import Place, children, resource_part
from kanwa_shared.fhir.validation.comparison import Undecidable
from kanwa_shared.fhir.validation.fhirpath import compile_node
from kanwa_shared.fhir.validation.fhirpath_items import Expression, Surroundings, is_true
from kanwa_shared.fhir.validation.fhirpath_syntax import (
    Binary,
    Call,
    Child,
    FhirPathSyntaxError,
    Index,
    Literal,
    Node,
    TypeTest,
    Variable,
    parse,
)

LONGEST_PATH_CHARACTERS: Final = 1000
_NESTED_MOST: Final = 20
_IN_CONDITIONS: Final = frozenset(
    {"all", "contains", "count", "empty", "exists", "first", "hasValue", "not", "startsWith", "tail", "toString",
     "where", "is", "as", "ofType"}
)  # fmt: skip


_VARIABLES_IN_CONDITIONS: Final = frozenset({"$this", "%ucum"})
#: The definition of an element is gone through for the name of its child.
_STEPS_TO_CHILDREN: Final = 4


class PathNotServed(Invalid):
    """The expression is no FHIRPath, or uses what a patch's path may not."""


def parse_path(text: str, budget: Budget) -> Node:
    """Read a path. Raises PathNotServed, BusinessRule if that goes over the budget."""
    if len(text) > LONGEST_PATH_CHARACTERS or text.count("(") > _NESTED_MOST:
        raise PathNotServed("a path of a patch is shorter", code="too-long")
    budget.spend(len(text))
    try:
        return parse(text)
    except (FhirPathSyntaxError, IndexError) as error:
        raise PathNotServed(f"'{text}' is no path: {error}") from error


def places(path: Node, tree: Tree, budget: Budget) -> list[Place]:
    """Where the elements are that the path selects in the resource, in document order.

    Raises PathNotServed, BusinessRule if that goes over the budget.
    """
    kind = resource_part(tree)
    if kind is None:
        raise PathNotServed("the resource has no type that R4 knows")
    return _Walk(tree, Place(tree, kind), budget).places(path)


class _Walk:
    def __init__(self, tree: Tree, root: Place, budget: Budget):
        self._root = root
        self._around = Surroundings(tree, tree, tree)
        self._budget = budget

    def places(self, node: Node | None) -> list[Place]:
        if node is None:
            return [self._root]
        if isinstance(node, Child):
            if node.base is None and node.name == self._root.owner.get("resourceType"):
                return [self._root]
            return self._children(self.places(node.base), node.name)
        if isinstance(node, Index):
            return self.places(node.base)[node.position : node.position + 1]
        if isinstance(node, TypeTest) and node.operator == "as":
            return _of_type(self.places(node.left), node.type_name)
        if isinstance(node, Call):
            return self._call(node)
        raise PathNotServed(
            "a patch's path names elements: names, positions, where(), first(), last(), ofType(), extension()"
        )

    def _children(self, found: list[Place], name: str) -> list[Place]:
        inner: list[Place] = []
        for place in found:
            before = len(inner)
            inner.extend(children(place, name))
            self._budget.spend(_STEPS_TO_CHILDREN + len(inner) - before)
        return inner

    def _call(self, node: Call) -> list[Place]:
        found, arguments = self.places(node.base), node.arguments
        match node.name, arguments:
            case "where", (condition,):
                return self._where(found, condition)
            case "extension", (Literal(value=url),):
                inner = self._children(found, "extension")
                return [place for place in inner if cast("Tree", place.value).get("url") == url]
            case (("ofType" | "as"), (Child(base=None, name=name),)):
                return _of_type(found, name)
            case "first", ():
                return found[:1]
            case "last", ():
                return found[-1:]
            case "tail", ():
                return found[1:]
            case "single", ():
                return found
            case "skip", (Literal(value=int(count)),):
                return found[count:]
            case "take", (Literal(value=int(count)),):
                return found[:count]
            case _:
                raise PathNotServed(f"{node.name}() is not served in a patch's path")

    def _where(self, found: list[Place], condition: Node) -> list[Place]:
        parts = _check_condition(condition)
        for place in found:
            self._budget.spend_values(place.item, parts)
        try:
            test = compile_node(condition)
            return [place for place in found if self._holds(test, place)]
        except FhirPathSyntaxError as error:
            raise PathNotServed(f"the condition cannot be read: {error}") from error

    def _holds(self, test: Expression, place: Place) -> bool:
        try:
            return is_true(test([place.item], self._around))
        except Undecidable:
            return False
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            # The closures are made for R4's constraints, whose operands always fit.
            raise PathNotServed("the condition compares what cannot be compared") from error


def _of_type(found: list[Place], name: str) -> list[Place]:
    wanted = name.removeprefix("FHIR.")
    return [place for place in found if place.member is not None and place.member.type_name == wanted]


def _check_condition(node: Node | None) -> int:
    """How many parts the condition has; raise PathNotServed for a function or variable that it may not name."""
    if isinstance(node, Call):
        if node.name not in _IN_CONDITIONS:
            raise PathNotServed(f"{node.name}() is not served in a condition of a patch's path")
        return 1 + _check_condition(node.base) + sum(map(_check_condition, node.arguments))
    if isinstance(node, Variable) and node.name not in _VARIABLES_IN_CONDITIONS:
        raise PathNotServed(f"{node.name} is not served in a condition of a patch's path")
    if isinstance(node, Binary):
        return 1 + _check_condition(node.left) + _check_condition(node.right)
    if isinstance(node, Child | Index):
        return 1 + _check_condition(node.base)
    if isinstance(node, TypeTest):
        return 1 + _check_condition(node.left)
    return 0 if node is None else 1

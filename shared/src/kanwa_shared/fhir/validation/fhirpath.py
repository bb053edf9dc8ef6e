"""Compiles R4's published constraints from FHIRPath to Python closures.

An engine that interprets an expression anew for each element costs milliseconds per resource; these
closures cost microseconds. A closure takes the focus (a list of tree nodes) and the surroundings, and
returns a list. Only what the constraints use is here; tests compare every one with an independent engine.
"""

from collections.abc import Callable
from typing import Any, Final, cast

from kanwa_shared.fhir.validation import comparison
from kanwa_shared.fhir.validation.fhirpath_functions import FUNCTIONS, LAMBDAS
from kanwa_shared.fhir.validation.fhirpath_items import (
    Expression,
    Items,
    Surroundings,
    WithoutValue,
    children_named,
    distinct,
    is_true,
    type_name,
)
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
from kanwa_shared.fhir.validation.resource_types import R4_RESOURCE_TYPES

_CONSTANTS: Final = {"%ucum": "http://unitsofmeasure.org"}
_TRUE: Final = [True]
_FALSE: Final = [False]


def compile_expression(text: str) -> Expression:
    """The closure of an expression; raises FhirPathSyntaxError for what no R4 constraint uses."""
    return _compile(parse(text))


def compile_node(node: Node) -> Expression:
    """The closure of an expression that was parsed already."""
    return _compile(node)


def _bool(value: bool) -> Items:
    return _TRUE if value else _FALSE


def _compile(node: Node) -> Expression:
    if isinstance(node, Literal):
        constant = [node.value]
        return lambda _focus, _around: constant
    if isinstance(node, Variable):
        return _variable(node.name)
    if isinstance(node, Child):
        return _child(node)
    if isinstance(node, TypeTest):
        return _type_test(node.operator, _compile(node.left), node.type_name)
    if isinstance(node, Binary):
        return _binary(node)
    if isinstance(node, Index):
        base, start = _compile(node.base), node.position
        return lambda focus, around: base(focus, around)[start : start + 1]
    return _call(node)


def _variable(name: str) -> Expression:
    if name in _CONSTANTS:
        constant = [_CONSTANTS[name]]
        return lambda _focus, _around: constant
    reads: dict[str, Expression] = {
        "$this": lambda focus, _around: focus,
        "%resource": lambda _focus, around: [around.resource],
        "%rootResource": lambda _focus, around: [around.root],
        "%context": lambda _focus, around: [around.context],
    }
    if name not in reads:
        raise FhirPathSyntaxError(f"unknown variable {name}")
    return reads[name]


def _child(node: Child) -> Expression:
    name = node.name
    if node.base is None:
        if name in R4_RESOURCE_TYPES:  # a leading type name is the focus itself, if it is of that type
            return lambda focus, _around: [item for item in focus if type_name(item) == name]
        return lambda focus, _around: children_named(focus, name)
    base = _compile(node.base)
    return lambda focus, around: children_named(base(focus, around), name)


def _type_test(operator: str, left: Expression, name: str) -> Expression:
    wanted = name if name in R4_RESOURCE_TYPES else name[0].lower() + name[1:]
    if operator == "is":
        # What does not exist is of no type: HL7's own engine answers false here, others answer nothing. With
        # nothing, ras-2 would refuse every prediction without a probability, HL7's examples among them.
        return lambda focus, around: [type_name(item) == wanted for item in left(focus, around)] or _FALSE
    return lambda focus, around: [item for item in left(focus, around) if type_name(item) == wanted]


def _binary(node: Binary) -> Expression:
    left, right = _compile(node.left), _compile(node.right)
    logic = _LOGIC.get(node.operator)
    if logic is not None:
        return lambda focus, around: logic(left, right, focus, around)
    operator = _OPERATORS[node.operator]
    return lambda focus, around: operator(left(focus, around), right(focus, around))


def _truth(items: Items) -> bool | None:
    """Three-valued: None for an empty collection."""
    return is_true(items) if items else None


def _and(left: Expression, right: Expression, focus: Items, around: Surroundings) -> Items:
    first = _truth(left(focus, around))
    if first is False:
        return _FALSE
    second = _truth(right(focus, around))
    if second is False:
        return _FALSE
    return [] if first is None or second is None else _TRUE


def _or(left: Expression, right: Expression, focus: Items, around: Surroundings) -> Items:
    first = _truth(left(focus, around))
    if first:
        return _TRUE
    second = _truth(right(focus, around))
    if second:
        return _TRUE
    return [] if first is None or second is None else _FALSE


def _implies(left: Expression, right: Expression, focus: Items, around: Surroundings) -> Items:
    first = _truth(left(focus, around))
    if first is False:
        return _TRUE
    second = _truth(right(focus, around))
    if second:
        return _TRUE
    return [] if first is None or second is None else _FALSE


def _xor(left: Expression, right: Expression, focus: Items, around: Surroundings) -> Items:
    first, second = _truth(left(focus, around)), _truth(right(focus, around))
    return [] if first is None or second is None else _bool(first != second)


_LOGIC: Final = {"and": _and, "or": _or, "implies": _implies, "xor": _xor}


def _equal(left: Items, right: Items) -> Items:
    if not left or not right:
        return []
    if any(isinstance(item, WithoutValue) for item in (*left, *right)):
        return []
    return _bool(len(left) == len(right) and all(map(comparison.equal, left, right)))


def _not_equal(left: Items, right: Items) -> Items:
    answer = _equal(left, right)
    return [not answer[0]] if answer else []


def _within(items: Items, collection: Items) -> Items:
    return _bool(any(comparison.equal(items[0], each) for each in collection)) if items else []


def _joined(left: Items, right: Items) -> Items:
    """The operator & reads an empty collection as an empty string."""
    return [_string(left) + _string(right)]


def _string(items: Items) -> str:
    return "" if not items or isinstance(items[0], WithoutValue) else str(items[0])


def _sum(left: Items, right: Items) -> Items:
    return [left[0] + right[0]] if left and right else []


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Items, Items], Items]:
    def compare(left: Items, right: Items) -> Items:
        if not left or not right or isinstance(left[0], WithoutValue) or isinstance(right[0], WithoutValue):
            return []
        return _bool(test(left[0], right[0]))

    return compare


_OPERATORS: Final[dict[str, Callable[[Items, Items], Items]]] = {
    "=": _equal,
    "!=": _not_equal,
    "<=": _ordered(comparison.at_most),
    ">=": _ordered(lambda left, right: comparison.at_most(right, left)),
    "<": _ordered(lambda left, right: not comparison.at_most(right, left)),
    ">": _ordered(lambda left, right: not comparison.at_most(left, right)),
    "in": _within,
    "contains": lambda left, right: _within(right, left),
    "|": lambda left, right: distinct([*left, *right]),
    "+": _sum,
    "&": _joined,
}


def _call(node: Call) -> Expression:
    base = _compile(node.base) if node.base is not None else None
    if node.name in ("is", "as", "ofType"):
        wanted = cast("Child", node.arguments[0]).name
        return _type_test("is" if node.name == "is" else "as", base or _variable("$this"), wanted)
    if node.name in LAMBDAS:
        each = LAMBDAS[node.name]
        parts = tuple(_compile(argument) for argument in node.arguments)
        return lambda focus, around: each(base(focus, around) if base else focus, around, parts)
    if node.name not in FUNCTIONS:
        raise FhirPathSyntaxError(f"unknown function {node.name}")
    function = FUNCTIONS[node.name]
    arguments = tuple(_compile(argument) for argument in node.arguments)
    if not arguments:
        return lambda focus, around: function(base(focus, around) if base else focus, around)
    return lambda focus, around: function(
        base(focus, around) if base else focus, around, *(argument(focus, around) for argument in arguments)
    )

"""FHIRPath Patch (https://hl7.org/fhir/R4/fhirpatch.html): operations in a Parameters resource."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final, cast

from kanwa_shared.errors import BusinessRule, Invalid
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.patching.budget import Budget
from kanwa_shared.fhir.patching.elements import Element, Place, count, elements, members_named, remove, write
from kanwa_shared.fhir.patching.places import PathNotServed, parse_path, places
from kanwa_shared.fhir.validation.definitions import Member, Part
from kanwa_shared.fhir.validation.fhirpath_syntax import Child

MAX_OPERATIONS: Final = 1000
_DEEPEST_VALUE: Final = 16
#: For each element of a list that an operation changes without a walk over it.
_STEPS_TO_REWRITE: Final = 2


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation: `parts` are its parameters by name, `at` is its FHIRPath in the Parameters resource."""

    at: str
    parts: dict[str, Tree]

    def text(self, name: str) -> str:
        return str(self._given(name, "valueString", "valueCode", "valueUri"))

    def number(self, name: str) -> int:
        value = self._given(name, "valueInteger", "valueUnsignedInt", "valuePositiveInt")
        if not isinstance(value, int) or value < 0:
            raise self.refused(f"'{name}' is a position from 0")
        return value

    def _given(self, name: str, *keys: str) -> Any:
        found = self.parts.get(name, {})
        for key in keys:
            if key in found:
                return found[key]
        raise self.refused(f"it needs a part '{name}' with {' or '.join(keys)}")

    def refused(self, why: str) -> Invalid:
        """This is no operation of FHIRPath Patch."""
        return Invalid(f"{self.at}: {why}", expression=self.at, code="invalid")

    def unfit(self, why: str) -> BusinessRule:
        """The resource is not what the operation is made for."""
        return BusinessRule(f"{self.at}: {why}", expression=self.at, code="processing")


def fhirpath_patch(tree: Tree, parameters: Tree) -> Tree:
    """The tree after all operations; `tree` itself is changed.

    Raises Invalid for what is no FHIRPath Patch, BusinessRule if an operation does not fit the resource, or if the
    paths look at more of it than one patch may.
    """
    operations = _operations(parameters)
    if len(operations) > MAX_OPERATIONS:
        raise Invalid(
            f"the patch has {len(operations)} operations; at most {MAX_OPERATIONS} are taken", code="too-long"
        )
    budget = Budget()
    for operation in operations:
        kind = operation.text("type")
        if kind not in _APPLY:
            raise operation.refused(f"'{kind}' is none of {', '.join(_APPLY)}")
        try:
            _APPLY[kind](operation, tree, budget)
        except PathNotServed as error:
            raise operation.refused(str(error)) from error
    return tree


def _operations(parameters: Tree) -> list[_Operation]:
    found: list[_Operation] = []
    given: Any = parameters.get("parameter", [])
    for position, parameter in enumerate(cast("list[Any]", given if isinstance(given, list) else [])):
        at = f"Parameters.parameter[{position}]"
        if not isinstance(parameter, dict) or cast("Tree", parameter).get("name") != "operation":
            raise Invalid(f"{at}: each parameter of a FHIRPath Patch is named 'operation'", expression=at)
        found.append(
            _Operation(at, {str(part.get("name")): part for part in _parts(cast("Tree", parameter))})
        )
    return found


def _parts(parameter: Tree) -> list[Tree]:
    parts: Any = parameter.get("part", [])
    return [
        cast("Tree", part)
        for part in cast("list[Any]", parts if isinstance(parts, list) else [])
        if isinstance(part, dict)
    ]


def _add(operation: _Operation, tree: Tree, budget: Budget) -> None:
    path, name = operation.text("path"), operation.text("name")
    found = places(parse_path(path, budget), tree, budget)
    place = _only(operation, path, found)
    kind = place.part
    if kind is None:
        raise operation.unfit(f"what {path} names has no elements of its own")
    _put_new(operation, cast("Tree", place.value), kind, name, None, budget)


def _insert(operation: _Operation, tree: Tree, budget: Budget) -> None:
    index = operation.number("index")
    owner, kind, name = _list(operation, tree, budget)
    _put_new(operation, owner, kind, name, index, budget)


def _put_new(
    operation: _Operation, owner: Tree, kind: Part, name: str, index: int | None, budget: Budget
) -> None:
    """Add one element at `index` of a list, or at its end; a single element must not be there yet."""
    member, element = _new_element(operation, kind, name)
    present = [other for other in members_named(kind, member.element) if count(owner, other)]
    if not member.many and present:
        raise operation.unfit(f"{kind.name}.{name} has a value; use replace")
    budget.spend(_STEPS_TO_REWRITE * count(owner, member))
    content = elements(owner, member)
    position = len(content) if index is None else index
    if position > len(content):
        raise operation.unfit(f"{kind.name}.{name} has {len(content)} elements, so none can be at {position}")
    write(owner, member, [*content[:position], element, *content[position:]])


def _delete(operation: _Operation, tree: Tree, budget: Budget) -> None:
    path = operation.text("path")
    found = places(parse_path(path, budget), tree, budget)
    if not found:  # as R4 says, this is no error here alone
        return
    place = _only(operation, path, found)
    _member(operation, place)
    remove(place)


def _replace(operation: _Operation, tree: Tree, budget: Budget) -> None:
    path = operation.text("path")
    place = _only(operation, path, places(parse_path(path, budget), tree, budget))
    old = _member(operation, place)
    new, element = _new_element(operation, place.kind, old.element)
    content = elements(place.owner, old)
    content[place.position] = element
    if new.key != old.key:  # another type of a choice
        write(place.owner, old, [])
    write(place.owner, new, content)


def _move(operation: _Operation, tree: Tree, budget: Budget) -> None:
    source, destination = operation.number("source"), operation.number("destination")
    owner, kind, name = _list(operation, tree, budget)
    member = next(members_named(kind, name))
    budget.spend(_STEPS_TO_REWRITE * count(owner, member))
    content = elements(owner, member)
    if max(source, destination) >= len(content):
        raise operation.unfit(f"{kind.name}.{name} has {len(content)} elements, counted from 0")
    content.insert(destination, content.pop(source))
    write(owner, member, content)


_APPLY: Final[dict[str, Callable[[_Operation, Tree, Budget], None]]] = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}


def _only(operation: _Operation, path: str, found: Sequence[Place]) -> Place:
    if not found:
        raise operation.unfit(f"nothing is at {path}")
    if len(found) > 1:
        raise operation.unfit(f"{path} names {len(found)} elements, and must name one")
    return found[0]


def _member(operation: _Operation, place: Place) -> Member:
    if place.member is None:
        raise operation.unfit("the whole resource cannot be replaced or deleted by a patch")
    return place.member


def _list(operation: _Operation, tree: Tree, budget: Budget) -> tuple[Tree, Part, str]:
    """The list that the path names, empty or not: the object that has it, its type and the element's name."""
    path = operation.text("path")
    node = parse_path(path, budget)
    if not isinstance(node, Child) or node.base is None:
        raise operation.refused("the path must end with the name of a list, such as Patient.identifier")
    place = _only(operation, path, places(node.base, tree, budget))
    kind = place.part
    named = list(members_named(kind, node.name)) if kind is not None else []
    if kind is None or not named or not named[0].many:
        raise operation.unfit(f"{path} is no list")
    return cast("Tree", place.value), kind, node.name


def _new_element(operation: _Operation, kind: Part, name: str) -> tuple[Member, Element]:
    """What the part 'value' holds, and the member of `kind` that takes it."""
    given = operation.parts.get("value")
    if given is None:
        raise operation.refused("it needs a part 'value'")
    return _element(operation, given, kind, name, 0)


def _element(operation: _Operation, given: Tree, kind: Part, name: str, depth: int) -> tuple[Member, Element]:
    candidates = list(members_named(kind, name))
    if not candidates:
        raise operation.unfit(f"{kind.name} has no element '{name}'")
    if depth > _DEEPEST_VALUE:
        raise operation.refused("the value is nested too deep")
    if "resource" in given:
        return candidates[0], Element(deepcopy(given["resource"]))
    if "part" in given:
        return candidates[0], Element(_composed(operation, given, candidates[0], depth))
    keys = [key.removeprefix("_") for key in given if key.startswith(("value", "_value"))]
    if not keys:
        raise operation.refused("the part 'value' has a value[x], a resource, or parts")
    type_name = keys[0].removeprefix("value")
    member = candidates[0]
    if member.choice:
        suited = [each for each in candidates if each.key == f"{each.element}{type_name}"]
        if not suited:
            raise operation.unfit(f"{kind.name}.{name} cannot be of the type {type_name}")
        member = suited[0]
    return member, Element(deepcopy(given.get(keys[0])), deepcopy(given.get(f"_{keys[0]}")))


def _composed(operation: _Operation, given: Tree, member: Member, depth: int) -> Tree:
    """An element of a type without a name, made of the parts named like its elements."""
    made: Tree = {}
    kind = member.part
    given_of: dict[str, tuple[Member, list[Element]]] = {}
    for part in _parts(given):
        inner, element = _element(operation, part, kind, str(part.get("name")), depth + 1)
        given_of.setdefault(inner.key, (inner, []))[1].append(element)
    for inner, content in given_of.values():
        write(made, inner, content if inner.many else content[-1:])
    return made

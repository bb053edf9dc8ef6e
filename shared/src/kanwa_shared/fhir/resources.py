"""fhir.resources as the second judge of a resource's structure: the only module that imports it.

Its R4B models judge and never rewrite: they would alter decimals and instants (see docs), so what they
return is dropped.
"""

from collections.abc import Hashable, Iterable
from functools import cache
from typing import Any, Final, cast

from fhir.resources.R4B import get_fhir_model_class
from pydantic import BaseModel, ValidationError

from kanwa_shared.errors import Issue
from kanwa_shared.fhir import json_text
from kanwa_shared.fhir.json_types import Tree

CHANGED_IN_R4B: Final = frozenset({"Evidence", "EvidenceVariable"})
"""Types whose R4B model no longer has R4's elements, so that it cannot judge them."""

_R4_ONLY: Final = frozenset({"valueMeta", "defaultValueMeta", "fixedMeta", "patternMeta"})
"""Elements of Extension and ElementDefinition that the models lack and R4 has."""

_CHOICE_MISSED: Final = "Expect any of field value from this list"
"""The models do not see a required choice element that only has extensions, and lack some `_` siblings."""

SHAPES_REMEMBERED: Final = 10_000  # a number each; a hospital's systems send some hundred shapes
_accepted: Final[set[int]] = set()


@cache
def _model(resource_type: str) -> type[BaseModel]:
    return cast("type[BaseModel]", get_fhir_model_class(resource_type))


def judge(tree: Tree, body: bytes | None = None) -> list[Issue]:
    """The faults that the model of the resource's type finds; the type is one of `RESOURCE_TYPES`.

    A resource of a shape that the model has accepted before is not asked about again. The caller has judged every
    value by R4's own tables, which are stricter; what the models add is a second opinion on names and nesting.
    """
    if tree["resourceType"] in CHANGED_IN_R4B:
        return []
    shape = hash(_shape(tree))
    if shape in _accepted:
        return []
    text = json_text.dumps(tree) if body is None else body.removeprefix(b"\xef\xbb\xbf")
    resource_type = tree["resourceType"]
    try:
        _model(resource_type).model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        return [
            _issue(resource_type, fault["loc"], fault["msg"])
            for fault in faults
            if _is_fault(fault["loc"], fault["msg"])
        ]
    if len(_accepted) >= SHAPES_REMEMBERED:
        _accepted.clear()
    _accepted.add(shape)
    return []


def _shape(node: object) -> Hashable:
    """Names, nesting and JSON types of a tree; of a list, which shapes its items have."""
    if isinstance(node, dict):
        members = cast("dict[str, Any]", node)
        return frozenset(
            (name, value if name == "resourceType" else _shape(value)) for name, value in members.items()
        )
    if isinstance(node, list):
        return frozenset(map(_shape, cast("list[Any]", node)))
    return type(node)


def _is_fault(location: tuple[Any, ...], message: str) -> bool:
    """Whether a model's objection is R4's too; names and choices were judged by R4's own tables already."""
    if _CHOICE_MISSED in message:
        return False
    name = location[-1] if location else ""
    return name not in _R4_ONLY and not str(name).startswith("_")


def warm(types: Iterable[str]) -> None:
    """Build the models of the types now and not at their first resource."""
    for name in types:
        _model(name).model_rebuild()


def _issue(resource_type: str, location: tuple[Any, ...], message: str) -> Issue:
    path = resource_type + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return Issue("structure", f"{path}: {message}", (path,))

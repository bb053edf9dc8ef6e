"""JSON Patch (RFC 6902) on a resource's tree; jsonpatch does it, numbers keep their literals."""

from typing import Any, Final, cast

from jsonpatch import (
    InvalidJsonPatch,
    JsonPatch,
    JsonPatchException,
    JsonPatchTestFailed,
    JsonPointer,
    JsonPointerException,
)

from kanwa_shared.errors import BusinessRule, Conflict, Invalid
from kanwa_shared.fhir.json_types import Tree

MAX_OPERATIONS: Final = 1000
#: Values that all copies of one patch may make together: a copy of the whole, repeated, doubles each time.
MAX_COPIED_VALUES: Final = 100_000


def json_patch(tree: Tree, operations: list[Any]) -> Tree:
    """The tree after all operations; `tree` itself may be changed.

    Raises Invalid for what is no JSON Patch, Conflict if a `test` fails, BusinessRule if an operation does not fit.
    """
    if len(operations) > MAX_OPERATIONS:
        raise Invalid(
            f"the patch has {len(operations)} operations; at most {MAX_OPERATIONS} are taken", code="too-long"
        )
    document: Any = tree
    copied = 0
    for position, operation in enumerate(operations):
        place = f"operation {position} of the patch"
        try:
            one = JsonPatch([operation])
            copied += _copied_values(document, operation)
            if copied > MAX_COPIED_VALUES:
                raise Invalid(f"{place}: the copies of this patch grow too large", code="too-costly")
            document = one.apply(document, in_place=True)
        except JsonPatchTestFailed as error:
            raise Conflict(
                f"{place}: the value at {operation['path']!r} is not the one that it tests for"
            ) from error
        except InvalidJsonPatch as error:
            raise Invalid(f"{place} is no operation of JSON Patch (RFC 6902): {_reason(error)}") from error
        except (JsonPatchException, JsonPointerException) as error:
            raise BusinessRule(
                f"{place} does not fit the resource: {_reason(error)}", code="processing"
            ) from error
    if not isinstance(document, dict):
        raise BusinessRule("the patch leaves no JSON object", code="processing")
    return cast("Tree", document)


def _copied_values(document: Any, operation: Any) -> int:
    """How many values the operation will copy; what it does not understand copies nothing."""
    source = operation.get("from")
    if operation.get("op") != "copy" or not isinstance(source, str):
        return 0
    return _count(JsonPointer(source).resolve(document, None))


def _count(node: Any) -> int:
    if isinstance(node, dict):
        return 1 + sum(map(_count, cast("Tree", node).values()))
    if isinstance(node, list):
        return 1 + sum(map(_count, cast("list[Any]", node)))
    return 1


def _reason(error: Exception) -> str:
    return str(error)[:200]

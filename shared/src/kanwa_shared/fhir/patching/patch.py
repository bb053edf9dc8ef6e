"""Which kind of patch a request body is."""

import base64
import binascii
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

from kanwa_shared.errors import Invalid
from kanwa_shared.fhir.http import JSON_PATCH, MERGE_PATCH
from kanwa_shared.fhir.json_text import parse_document
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.patching.fhirpath_patch import fhirpath_patch
from kanwa_shared.fhir.patching.json_patch import json_patch
from kanwa_shared.fhir.patching.merge_patch import merge_patch

#: Makes the next version's tree of the current one's; raises DomainError if it cannot.
Patch = Callable[[Tree], Tree]

_ASKS: Final = (
    "send a JSON Patch array, Parameters of FHIRPath Patch, or an object with the members to change"
)


def read_patch(body: bytes, media_type: str, *, max_depth: int) -> Patch:
    """Read a patch; a body of a plain JSON type shows by itself which kind it is.

    Raises Unparsable for what is not JSON, Invalid for what is no patch of the media type.
    """
    document = parse_document(body, max_depth=max_depth)
    if isinstance(document, list) and media_type != MERGE_PATCH:
        operations = cast("list[Any]", document)
        return lambda tree: json_patch(tree, operations)
    if not isinstance(document, dict) or media_type == JSON_PATCH:
        raise Invalid(f"the body is no patch of the type {media_type}: {_ASKS}", code="structure")
    return patch_of(cast("Tree", document))


def patch_of(document: Tree) -> Patch:
    """The patch that an object is: Parameters are a FHIRPath Patch, all else is a partial resource."""
    if document.get("resourceType") == "Parameters":
        return partial(fhirpath_patch, parameters=document)
    return lambda tree: merge_patch(tree, document)


def binary_content(binary: Tree, *, at: str) -> tuple[bytes, str]:
    """The content of a Binary, in which a Bundle carries a JSON Patch, and its media type; `at` is its place.

    Raises Invalid if it is not base64.
    """
    text: Any = binary.get("data", "")
    try:
        content = base64.b64decode("".join(str(text).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(
            f"{at}: the data of the Binary is not base64", expression=f"{at}.data", code="value"
        ) from error
    return content, str(binary.get("contentType", ""))

"""Changes to a resource's tree as clients send them: JSON Patch, FHIRPath Patch, partial resources.

A patch changes a tree and judges nothing: its result is validated like a resource that was sent whole.
"""

from kanwa_shared.fhir.patching.fhirpath_patch import fhirpath_patch
from kanwa_shared.fhir.patching.json_patch import json_patch
from kanwa_shared.fhir.patching.merge_patch import merge_patch
from kanwa_shared.fhir.patching.patch import Patch, binary_content, patch_of, read_patch

__all__ = ["Patch", "binary_content", "fhirpath_patch", "json_patch", "merge_patch", "patch_of", "read_patch"]

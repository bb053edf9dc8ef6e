"""Judges a resource against R4 (4.0.1): structure, formats, codes, reference types and invariants."""

from kanwa_shared.fhir.validation.judgement import validate, warm
from kanwa_shared.fhir.validation.resource_types import RESOURCE_TYPES, is_resource_type

__all__ = ["RESOURCE_TYPES", "is_resource_type", "validate", "warm"]

"""The number-preserving JSON tree in which a resource is read."""

from typing import Any, TypeAlias

Tree: TypeAlias = dict[str, Any]
"""One FHIR JSON object. Decimals are `JsonDecimal` (see `json_text`), so `1.50` stays `1.50`."""

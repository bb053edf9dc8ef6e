"""The resource types of R4, and those of them that this server offers."""

from importlib.resources import files
from typing import Final

import msgspec


class _Types(msgspec.Struct):
    r4: list[str]
    modelled: list[str]
    choices: dict[str, list[str]]


_TYPES: Final = msgspec.json.decode(
    (files("kanwa_shared.fhir.validation") / "r4" / "types.json").read_bytes(), type=_Types
)

R4_RESOURCE_TYPES: Final = frozenset(_TYPES.r4)
"""Every concrete resource type of R4 4.0.1."""

RESOURCE_TYPES: Final = frozenset(_TYPES.modelled)
"""The R4 types that fhir.resources models too, so that both judges can see them; the rest is not served."""

CHOICE_KEYS: Final = {name: frozenset(keys) for name, keys in _TYPES.choices.items()}
"""The JSON members of each choice element name anywhere in R4: `value` -> valueQuantity, valueString …"""


def is_resource_type(name: str) -> bool:
    """Whether this server offers the type."""
    return name in RESOURCE_TYPES

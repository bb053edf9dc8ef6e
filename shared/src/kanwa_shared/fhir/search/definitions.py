"""The R4 search parameters of every resource type, as the generated table beside this module holds them.

`shared/definitions/generate_search_parameters.py` writes the table from HL7's definitions. Nothing is read at
import.
"""

from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

ParameterType = Literal["token", "reference", "date", "string", "quantity", "number", "uri", "composite"]

_TABLE: Final = Path(__file__).with_name("search_parameters.json")
_OFFICIAL: Final = "http://hl7.org/fhir/SearchParameter/"

PRIMITIVES: Final = frozenset({"code", "string", "uri", "id", "boolean", "Patient.deceased"})
"""Data types of tokens that have no system beside them."""


class ElementPath(msgspec.Struct, frozen=True, array_like=True):
    """Where values are: JSON member names from the resource's root, and the data type at the end.

    `target` is the resource type that a reference found there must have; "" for any.
    """

    path: str
    datatype: str
    target: str = ""


class Component(msgspec.Struct, frozen=True):
    """One part of a composite parameter; its paths start at the composite's context."""

    param: str
    type: ParameterType
    paths: tuple[ElementPath, ...] = ()


class SearchParameter(msgspec.Struct, frozen=True, kw_only=True, rename={"as_type": "as"}):
    """One search parameter at one resource type.

    A parameter that only repeats values of others borrows their index rows: `of` names the parameter whose
    values it shares (with `as_type`: only references to that type), `union` those whose values it has beside
    its own.
    """

    resource_type: str = ""
    code: str = ""
    type: ParameterType
    url: str
    paths: tuple[ElementPath, ...] = ()
    targets: tuple[str, ...] | Literal["*"] = ()
    systems: tuple[str, ...] = ()
    required: bool = False
    single: bool = False
    of: str = ""
    as_type: str = ""
    union: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    components: tuple[Component, ...] = ()
    flat: bool = False

    @property
    def definition(self) -> str:
        """Canonical URL of the official SearchParameter."""
        return _OFFICIAL + self.url

    @property
    def target_types(self) -> tuple[str, ...]:
        """Resource types that a reference parameter may point to."""
        return all_types() if self.targets == "*" else self.targets

    @property
    def primitive(self) -> bool:
        """Whether every value is a primitive, so that a token of it has no system."""
        return all(path.datatype in PRIMITIVES for path in self.paths)

    @property
    def row_params(self) -> tuple[str, ...]:
        """Names under which this parameter's values stand in the index."""
        return (self.of or self.code, *self.union)


@cache
def _table() -> dict[str, dict[str, dict[str, Any]]]:
    return msgspec.json.decode(_TABLE.read_bytes())


@cache
def all_types() -> tuple[str, ...]:
    """Every resource type that has search parameters."""
    return tuple(name for name in _table() if name != "Resource")


@cache
def parameters_of(resource_type: str) -> dict[str, SearchParameter]:
    """Search parameters of a type by code, those of every resource (`_id`, `_tag` …) included.

    An unknown type has none.
    """
    own = _table().get(resource_type)
    if own is None:
        return {}
    identity = {"_id": {"type": "token", "url": "Resource-id", "required": True}}
    entries = {**identity, **_table()["Resource"], **own}
    return {
        code: msgspec.convert({**entry, "code": code, "resource_type": resource_type}, SearchParameter)
        for code, entry in entries.items()
    }


def search_parameters(resource_type: str) -> list[SearchParameter]:
    """What `resource_type` can be searched by, in the order of the codes; for the CapabilityStatement."""
    return sorted(parameters_of(resource_type).values(), key=lambda parameter: parameter.code)

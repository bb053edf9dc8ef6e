"""What a CapabilityStatement says of `_include` and `_revinclude`."""

from functools import cache
from typing import Final

from kanwa_shared.fhir.search.definitions import SearchParameter, parameters_of, search_parameters

NO_TARGET_ROWS: Final = frozenset({"canonical", "uri", "Resource"})
"""Data types of references that are compared as they are written and lead to no resource here."""


@cache
def includes_declared(resource_type: str, held: frozenset[str]) -> tuple[str, ...]:
    """Values of `_include` that can add something to matches of a type, where `held` are the types at hand."""
    return tuple(
        f"{resource_type}:{parameter.code}"
        for parameter in _followed(resource_type)
        if held.intersection(_targets(parameter))
    )


@cache
def reverse_includes_declared(resource_type: str, held: frozenset[str]) -> tuple[str, ...]:
    """Values of `_revinclude` that can add something to matches of a type."""
    return tuple(
        f"{source}:{parameter.code}"
        for source in sorted(held)
        for parameter in _followed(source)
        if resource_type in _targets(parameter)
    )


@cache
def _followed(source: str) -> tuple[SearchParameter, ...]:
    return tuple(
        parameter
        for parameter in search_parameters(source)
        if parameter.type == "reference"
        and any(path.datatype not in NO_TARGET_ROWS for path in parameter.paths)
    )


@cache
def _targets_of(source: str, code: str) -> frozenset[str]:
    parameter = parameters_of(source)[code]
    return frozenset((parameter.as_type,) if parameter.as_type else parameter.target_types)


def _targets(parameter: SearchParameter) -> frozenset[str]:
    return _targets_of(parameter.resource_type, parameter.code)

"""Reading reference values of a search.

https://hl7.org/fhir/R4/search.html#reference
"""

from collections.abc import Iterator

from kanwa_shared.errors import Invalid, NotSupported
from kanwa_shared.fhir.search.conditions import HasTokens
from kanwa_shared.fhir.search.definitions import SearchParameter, all_types


def reference_forms(parameter: SearchParameter, modifier: str, value: str) -> Iterator[str]:
    """Token forms of `1`, `Patient/1`, `https://…/Patient/1` or a canonical; none if the value can't match.

    `modifier` is a resource type or "". Raises NotSupported for another modifier, Invalid where the value and
    the type in the modifier disagree.
    """
    types = (parameter.as_type,) if parameter.as_type else parameter.target_types
    if modifier:
        types = (_wanted(parameter, modifier, types),)
    if ":" in value:
        yield from _absolute(parameter, modifier, value)
        return
    resource_type, slash, rest = value.partition("/")
    if not slash:
        yield from (f"={target}/{value}" for target in types)
        return
    if modifier and resource_type != modifier:
        raise Invalid(f"{parameter.code}:{modifier}={value}: the value is of another type than the modifier")
    if resource_type in types or (resource_type in all_types() and not parameter.as_type):
        yield f"={resource_type}/{rest.split('/_history/')[0]}"


def local_tokens(condition: HasTokens, base_url: str) -> list[str]:
    """The condition's tokens as resources are indexed: a URL of this server means the relative reference."""
    base = f"={base_url.rstrip('/')}/"
    if not (condition.reference and base_url):
        return list(condition.any_of)
    return [text.replace(base, "=", 1) for text in condition.any_of]


def _wanted(parameter: SearchParameter, modifier: str, types: tuple[str, ...]) -> str:
    if modifier not in all_types():
        raise NotSupported(
            f"{parameter.code}:{modifier}: the modifiers of this reference parameter are identifier, missing "
            f"and the types {', '.join(types[:20])}"
        )
    if modifier not in types:
        raise NotSupported(f"{parameter.code}:{modifier}: it refers to {', '.join(types)}, not to {modifier}")
    return modifier


def _absolute(parameter: SearchParameter, modifier: str, value: str) -> Iterator[str]:
    wanted = modifier or parameter.as_type
    if not wanted or f"/{wanted}/" in value:
        yield f"={value.split('/_history/')[0]}"

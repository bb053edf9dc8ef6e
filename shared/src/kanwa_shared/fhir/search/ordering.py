"""Reading `_sort`, `_include` and `_revinclude`.

https://hl7.org/fhir/R4/search.html#sort and #include
"""

from typing import Final

from kanwa_shared.errors import Invalid, NotSupported
from kanwa_shared.fhir.search.conditions import Include, SortKey
from kanwa_shared.fhir.search.definitions import SearchParameter, all_types, parameters_of

PRIORITIES: Final = ("stat", "asap", "urgent", "routine")
"""request-priority from the most to the least urgent; R4: a request without one is routine."""


def sort_keys(resource_type: str, value: str) -> tuple[SortKey, ...]:
    """The keys of a `_sort` value, such as `priority,-authored`. Raises NotSupported for others."""
    keys = [_sort_key(resource_type, part.strip()) for part in value.split(",") if part.strip()]
    return tuple(
        {key.code: key for key in reversed(keys)}[code] for code in dict.fromkeys(k.code for k in keys)
    )


def _sort_key(resource_type: str, text: str) -> SortKey:
    descending, code = text.startswith("-"), text.removeprefix("-")
    parameter = parameters_of(resource_type).get(code)
    if parameter is None or parameter.type == "composite":
        sortable = ", ".join(sorted(parameters_of(resource_type)))
        raise NotSupported(f"_sort={text}: {resource_type} can be sorted by {sortable}")
    return _key(parameter, descending)


def _key(parameter: SearchParameter, descending: bool) -> SortKey:
    code, params = parameter.code, parameter.row_params
    if code == "_id":
        return SortKey(code, "id", descending=descending)
    if code == "_lastUpdated":
        return SortKey(code, "updated", descending=descending)
    if parameter.systems == ("http://hl7.org/fhir/request-priority",):
        return SortKey(code, "ranked", params, descending, PRIORITIES)
    match parameter.type:
        case "date":
            return SortKey(code, "date", params, descending, single=parameter.single)
        case "number" | "quantity":
            return SortKey(code, "quantity", params, descending)
        case "string":
            return SortKey(code, "string", params, descending, single=parameter.single)
        case _:
            return SortKey(code, "token", params, descending)


def includes_of(resource_type: str, name: str, value: str) -> list[Include]:
    """Read `_include=Task:focus:ServiceRequest` and its like; `*` stands for every reference.

    Raises NotSupported for an unknown parameter or modifier, Invalid when the value has not this form.
    """
    kind, _, modifier = name.partition(":")
    if modifier not in ("", "iterate", "recurse"):
        raise NotSupported(f"{name}: the only modifier of {kind} is :iterate")
    iterate, reverse = bool(modifier), kind == "_revinclude"
    if value == "*" and not reverse:
        return [Include(resource_type, None, "", reverse, iterate)]
    parts = value.split(":")
    if len(parts) not in (2, 3) or parts[0] not in all_types():
        raise Invalid(f"{name}={value}: expected SourceType:parameter or SourceType:parameter:TargetType")
    if not (iterate or reverse) and parts[0] != resource_type:
        raise Invalid(
            f"{name}={value}: the matches are {resource_type}; write _include:iterate for added resources"
        )
    return [
        _include(parts[0], parts[1], parts[2] if len(parts) == 3 else "", reverse, iterate, f"{name}={value}")
    ]


def _include(source: str, code: str, target: str, reverse: bool, iterate: bool, written: str) -> Include:
    if code == "*":
        return Include(source, None, target, reverse, iterate)
    parameter = parameters_of(source).get(code)
    if parameter is None or parameter.type != "reference":
        known = sorted(entry.code for entry in parameters_of(source).values() if entry.type == "reference")
        raise NotSupported(
            f"{written}: the reference parameters of {source} are {', '.join(known) or 'none'}"
        )
    if target and target not in parameter.target_types:
        raise Invalid(f"{written}: {source}.{code} refers to {', '.join(parameter.target_types)}")
    return Include(source, parameter.row_params, target or parameter.as_type, reverse, iterate)

"""From one query parameter, `name[:modifier]=value`, to a condition.

https://hl7.org/fhir/R4/search.html#ptypes
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Final

from kanwa_shared.errors import Invalid, NotSupported
from kanwa_shared.fhir.search.code_texts import text_paths
from kanwa_shared.fhir.search.conditions import (
    ALWAYS,
    NEVER,
    AllOf,
    AnyOf,
    Condition,
    HasId,
    HasRange,
    HasRow,
    HasString,
    HasText,
    HasTokens,
    Not,
    PointedToBy,
    PointsTo,
    Updated,
)
from kanwa_shared.fhir.search.definitions import SearchParameter, all_types, parameters_of
from kanwa_shared.fhir.search.literals import split, unescaped
from kanwa_shared.fhir.search.references import reference_forms
from kanwa_shared.fhir.search.text import normalised
from kanwa_shared.fhir.search.tokens import any_system, present, token
from kanwa_shared.fhir.search.written_values import (
    ANY_CODE,
    date_value_test,
    identifier_form,
    quantity_test,
    second_forms,
    token_form,
    typed_identifier,
)

MAX_CHAINED_TYPES: Final = 12
MAX_VALUES: Final = 500
MAX_DEPTH: Final = 6


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads conditions; `now` and `zone` give dates their meaning (see `parse_search`)."""

    now: datetime
    zone: tzinfo

    def condition(self, resource_type: str, name: str, value: str, depth: int = 0) -> Condition:
        """What `name=value` asks of a resource of `resource_type`. Raises NotSupported or Invalid."""
        if depth > MAX_DEPTH:
            raise NotSupported(f"{name}: chains of more than {MAX_DEPTH} steps are not followed")
        if name.startswith("_has:"):
            return self._pointed_to_by(resource_type, name, value, depth)
        head, dot, rest = name.partition(".")
        if dot:
            return self._points_to(resource_type, head, rest, value, depth)
        code, _, modifier = name.partition(":")
        parameter = _parameter(resource_type, code)
        if modifier == "missing":
            return _missing(parameter, value)
        return _READERS[parameter.type](self, parameter, modifier, value)

    def _points_to(self, resource_type: str, head: str, rest: str, value: str, depth: int) -> Condition:
        code, _, wanted = head.partition(":")
        parameter = _parameter(resource_type, code)
        if parameter.type != "reference":
            raise NotSupported(
                f"{head}.{rest}: {resource_type}.{code} is no reference, so it has nothing to chain"
            )
        found: list[Condition] = []
        refusal: NotSupported | None = None
        for target in _chained_types(parameter, wanted, f"{head}.{rest}"):
            try:
                inner = self.condition(target, rest, value, depth + 1)
            except NotSupported as error:
                refusal = error
            else:
                found += [PointsTo(param, target, inner) for param in parameter.row_params]
        if not found:
            raise refusal or NotSupported(f"{head}.{rest}: no type that {code} refers to has {rest}")
        if len(found) > MAX_CHAINED_TYPES:
            raise NotSupported(
                f"{head}.{rest}: say which type you mean, as in {code}:{parameter.target_types[0]}.{rest}"
            )
        return _any(found)

    def _pointed_to_by(self, resource_type: str, name: str, value: str, depth: int) -> Condition:
        parts = name.split(":", 3)
        if len(parts) != 4:
            raise Invalid(
                f"{name}: expected _has:Type:reference:parameter, as in _has:Observation:patient:code"
            )
        _, source, code, rest = parts
        if source not in all_types():
            raise NotSupported(f"{name}: {source} is not a resource type that can be searched")
        parameter = _parameter(source, code)
        if parameter.type != "reference" or resource_type not in parameter.target_types:
            raise NotSupported(f"{name}: {source}.{code} does not refer to {resource_type}")
        inner = self.condition(source, rest, value, depth + 1)
        return _any([PointedToBy(source, param, inner) for param in parameter.row_params])

    def token(self, parameter: SearchParameter, modifier: str, value: str) -> Condition:
        """A token: `code`, `system|code`, `|code` or `system|`."""
        if parameter.code == "_id":
            ids = HasId(tuple(unescaped(part) for part in _values(parameter, value)))
            return _plain_or_not(parameter, modifier, ids)
        if modifier == "of-type":
            typed = tuple(typed_identifier(parameter, part) for part in _values(parameter, value))
            return HasTokens(typed, rare=True)
        if modifier == "text":
            return _text(parameter, value)
        forms = [token_form(parameter, part) for part in _values(parameter, value)]
        any_code = parameter.required and ANY_CODE in forms
        rare = any(path.datatype == "Identifier" for path in parameter.paths)
        found = ALWAYS if any_code else HasTokens(_texts(parameter, forms), rare=rare)
        return _plain_or_not(parameter, modifier, found)

    def uri(self, parameter: SearchParameter, modifier: str, value: str) -> Condition:
        """A uri, compared as it is."""
        forms = [any_system(unescaped(part)) for part in _values(parameter, value)]
        return _plain_or_not(parameter, modifier, HasTokens(_texts(parameter, forms)))

    def reference(self, parameter: SearchParameter, modifier: str, value: str) -> Condition:
        """A reference, by id, type and id, URL, or (`:identifier`) by the identifier written in it."""
        if modifier == "identifier":
            identifiers = [identifier_form(part) for part in _values(parameter, value)]
            return HasTokens(
                tuple(
                    token(parameter.resource_type, f"{parameter.code}:identifier", form)
                    for form in identifiers
                )
            )
        forms = [
            form
            for part in _values(parameter, value)
            for form in reference_forms(parameter, modifier, unescaped(part))
        ]
        return HasTokens(_texts(parameter, forms), reference=True, rare=True) if forms else NEVER

    def string(self, parameter: SearchParameter, modifier: str, value: str) -> Condition:
        """A string: from its start, anywhere in it (`:contains`), or letter by letter (`:exact`)."""
        values = [unescaped(part) for part in _values(parameter, value)]
        match modifier:
            case "exact":
                return HasString(parameter.row_params, "exact", tuple(values))
            case "contains":
                return HasString(parameter.row_params, "contains", tuple(map(normalised, values)))
            case "":
                return HasString(parameter.row_params, "starts", tuple(map(normalised, values)))
            case _:
                raise _no_modifier(parameter, modifier, "exact, contains, missing")

    def date(self, parameter: SearchParameter, modifier: str, value: str) -> Condition:
        """A date with an optional prefix."""
        if modifier:
            raise _no_modifier(parameter, modifier, "missing")
        tests = tuple(
            date_value_test(parameter, part, now=self.now, zone=self.zone)
            for part in _values(parameter, value)
        )
        if parameter.code == "_lastUpdated":
            return Updated(tests)
        return HasRange("date", parameter.row_params, tests, parameter.single)

    def quantity(self, parameter: SearchParameter, modifier: str, value: str) -> Condition:
        """A number or quantity: `number`, `number|system|code` or `number||code`."""
        if modifier:
            raise _no_modifier(parameter, modifier, "missing")
        tests = tuple(quantity_test(parameter, part) for part in _values(parameter, value))
        return HasRange("quantity", parameter.row_params, tests, parameter.single)

    def composite(self, parameter: SearchParameter, modifier: str, value: str) -> Condition:
        """A composite: the parts joined by `$`, all true of the same repetition of the element."""
        if modifier:
            raise _no_modifier(parameter, modifier, "none")
        members = [_parameter(parameter.resource_type, code) for code in parameter.union] or [parameter]
        return _any(
            [self._composite(member, part) for part in _values(parameter, value) for member in members]
        )

    def _composite(self, parameter: SearchParameter, value: str) -> Condition:
        parts = split(value, "$")
        if len(parts) != len(parameter.components):
            names = "$".join(component.param for component in parameter.components)
            raise Invalid(
                f"{parameter.code}={value}: expected {names}, each part as that parameter writes it"
            )
        members = [_parameter(parameter.resource_type, component.param) for component in parameter.components]
        if parameter.flat:
            return AllOf(
                tuple(
                    _READERS[member.type](self, member, "", part)
                    for member, part in zip(members, parts, strict=True)
                )
            )
        first = token_form(members[0], parts[0])
        if members[1].type == "quantity":
            test = quantity_test(members[1], parts[1])
            return HasRange("quantity", (parameter.code + first,), (test,))
        return HasTokens(
            tuple(
                token(parameter.resource_type, parameter.code, f"{first}${form}")
                for form in second_forms(members[1], parts[1])
            ),
            reference=members[1].type == "reference",
        )


_ReadValue = Callable[[Reader, SearchParameter, str, str], Condition]
_READERS: Final[dict[str, _ReadValue]] = {
    "token": Reader.token,
    "uri": Reader.uri,
    "reference": Reader.reference,
    "string": Reader.string,
    "date": Reader.date,
    "quantity": Reader.quantity,
    "number": Reader.quantity,
    "composite": Reader.composite,
}


def _parameter(resource_type: str, code: str) -> SearchParameter:
    parameter = parameters_of(resource_type).get(code)
    if parameter is None:
        known = ", ".join(sorted(parameters_of(resource_type)))
        raise NotSupported(f"{resource_type} has no search parameter {code}; it has {known}")
    return parameter


def _no_modifier(parameter: SearchParameter, modifier: str, offered: str) -> NotSupported:
    return NotSupported(
        f"{parameter.code}:{modifier}: the modifiers of this {parameter.type} parameter are {offered}"
    )


def _values(parameter: SearchParameter, value: str) -> list[str]:
    values = [part for part in split(value, ",") if part]
    if not values:
        raise Invalid(f"{parameter.code}={value}: there is no value between the commas")
    if len(values) > MAX_VALUES:
        raise Invalid(f"{parameter.code}: at most {MAX_VALUES} values can be joined by commas")
    return values


def _any(conditions: list[Condition]) -> Condition:
    return conditions[0] if len(conditions) == 1 else AnyOf(tuple(conditions))


def _plain_or_not(parameter: SearchParameter, modifier: str, condition: Condition) -> Condition:
    if modifier == "":
        return condition
    if modifier == "not":  # also true of a resource without any value: R4, "modifiers"
        return Not(condition)
    offered = "not, missing, text, of-type" if parameter.type == "token" else "not, missing"
    raise _no_modifier(parameter, modifier, offered)


def _texts(parameter: SearchParameter, forms: list[str]) -> tuple[str, ...]:
    return tuple(
        token(parameter.resource_type, param, form) for param in parameter.row_params for form in forms
    )


def _text(parameter: SearchParameter, value: str) -> Condition:
    paths = text_paths(parameter)
    if not paths:
        raise NotSupported(f"{parameter.code}:text: these codes have no text beside them")
    found = HasText(paths, tuple(unescaped(part) for part in _values(parameter, value)))
    return found if parameter.required else AllOf((_present(parameter), found))


def _chained_types(parameter: SearchParameter, wanted: str, written: str) -> tuple[str, ...]:
    types = (parameter.as_type,) if parameter.as_type else parameter.target_types
    if not wanted:
        return types
    if wanted not in types:
        raise NotSupported(f"{written}: {parameter.code} refers to {', '.join(types)}, not to {wanted}")
    return (wanted,)


def _missing(parameter: SearchParameter, value: str) -> Condition:
    if value not in ("true", "false"):
        raise Invalid(f"{parameter.code}:missing={value}: expected true or false")
    if parameter.type == "composite":
        raise NotSupported(f"{parameter.code}:missing: ask for the parts, which are parameters of their own")
    there = _present(parameter)
    return there if value == "false" else Not(there)


def _present(parameter: SearchParameter) -> Condition:
    resource_type = parameter.resource_type
    members = [_parameter(resource_type, code) for code in parameter.union]
    if parameter.code == "_lastUpdated" or any(entry.required for entry in (parameter, *members)):
        return ALWAYS
    match parameter.type:
        case "reference":
            return HasTokens((present(resource_type, parameter.code),))
        case "date":
            return HasRow("date", parameter.row_params)
        case "string":
            return HasRow("string", parameter.row_params)
        case "number" | "quantity":
            return HasRow("quantity", parameter.row_params)
        case _:
            return HasTokens(tuple(present(resource_type, param) for param in parameter.row_params))

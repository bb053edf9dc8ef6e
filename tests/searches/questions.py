"""Searches to be answered by two servers: of every search parameter, with values that resources have."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kanwa_shared.fhir.search import search_parameters
from kanwa_shared.fhir.search.definitions import SearchParameter, parameters_of
from kanwa_shared.fhir.search.literals import split_prefix

Tree = dict[str, Any]

#: Set by the server, so that two servers never agree.
_OF_THE_SERVER: Final = frozenset({"_lastUpdated", "_source"})
_SPECIAL: Final = re.compile(r"([\\,$|])")


@dataclass(frozen=True, slots=True)
class Question:
    """A search of one parameter or several."""

    resource_type: str
    query: tuple[tuple[str, str], ...]

    def alone(self) -> list["Question"]:
        """Each of its parameters as a search of its own."""
        return [Question(self.resource_type, (pair,)) for pair in self.query]

    @property
    def parameter(self) -> str:
        """`Type.code` of the first parameter."""
        return f"{self.resource_type}.{re.split('[:.]', self.query[0][0])[0]}"

    @property
    def form(self) -> str:
        """How the first parameter asks: its type, then modifier or prefix, then the shape of its value."""
        name, value = self.query[0]
        if name.startswith("_has:"):
            return "_has"
        if "." in name:
            return "chain"
        code, _, modifier = name.partition(":")
        parameter = parameters_of(self.resource_type)[code]
        return " ".join(
            part for part in (parameter.type, modifier, _shape(parameter, modifier, value)) if part
        )

    def __str__(self) -> str:
        return f"{self.resource_type}?" + "&".join(f"{name}={value}" for name, value in self.query)


def _shape(parameter: SearchParameter, modifier: str, value: str) -> str:
    if modifier == "missing":
        return ""
    shapes = {
        "token": _token_shape,
        "date": _date_shape,
        "reference": lambda one: "type/id" if "/" in one else "id",
    }
    shape = shapes.get(parameter.type)
    return "" if shape is None else ",".join(dict.fromkeys(shape(one) for one in value.split(",")))


def _token_shape(value: str) -> str:
    system, bar, code = value.replace(r"\|", "").partition("|")
    return f"{'system' if system and bar else ''}{bar}{'code' if code or not bar else ''}"


def _date_shape(value: str) -> str:
    prefix, literal = split_prefix(value)
    precision = {4: "year", 7: "month", 10: "day"}.get(len(literal), "moment")
    return f"{prefix} {precision}"


def of_every_parameter(resource_type: str, held: Mapping[str, Any]) -> Iterator[Question]:
    """Whether each parameter of a type is missing, and each of the `held` values of it in several forms."""
    for parameter in search_parameters(resource_type):
        if parameter.code in _OF_THE_SERVER or parameter.type == "composite":
            continue
        for missing in ("true", "false"):
            if parameter.code != "_id":
                yield Question(resource_type, ((f"{parameter.code}:missing", missing),))
        for value in held.get(parameter.code, {}).get("values", ()):
            for name, text in _forms(parameter, value):
                yield Question(resource_type, ((parameter.code + name, text),))


def _forms(parameter: SearchParameter, value: Any) -> Iterator[tuple[str, str]]:
    match parameter.type:
        case "token":
            yield from _token_forms(parameter, value)
        case "string" if isinstance(value, str):
            yield from (("", _escaped(value)), (":exact", _escaped(value)))
            yield ":contains", _escaped(value[len(value) // 3 :].strip() or value)
        case "date":
            for moment in filter(None, (value.get("start"), value.get("end"))):
                for prefix in ("", "ne", "ge", "lt", "sa", "eb"):
                    yield "", f"{prefix}{moment[:10]}"
                    yield "", f"{prefix}{moment}"
        case "reference" | "uri" if (
            isinstance(value, str) and value and not value.startswith(("identifier:", "#"))
        ):
            yield "", _escaped(value)
        case _:
            return


def _token_forms(parameter: SearchParameter, value: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    system, code = _escaped(value.get("system", "")), _escaped(value.get("value", ""))
    if not code:
        return
    yield "", code
    if parameter.code != "_id":
        yield ":not", code
    if system:
        yield from (("", f"{system}|{code}"), ("", f"{system}|"))
    elif not parameter.primitive:
        yield "", f"|{code}"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def questions_of(pairs: Sequence[tuple[str, list[tuple[str, str]]]]) -> list[Question]:
    """Searches as `tests.support.search_queries` makes them."""
    return [Question(resource_type, tuple(query)) for resource_type, query in pairs]

"""What a call of an operation was given: parameters in the URL, and in a Parameters resource that is posted."""

from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request

from kanwa_shared.errors import Invalid
from kanwa_shared.fhir.http import check_content_type
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search.dates import Range, range_of
from kanwa_shared.fhir.validation import is_resource_type
from kanwa_shared.rest.conditional import ABOUT_THE_ANSWER
from kanwa_shared.rest.responses import engine_of

#: Types that one service may name to another: more than R4 has.
TYPES_AT_ONCE: Final = 200

Given = dict[str, list[Any]]
"""Values by parameter name: texts from the URL, JSON values from Parameters (a resource for `resource`)."""


async def read_given(request: Request, known: AbstractSet[str], *, lenient: bool = False) -> Given:
    """The call's parameters; a POST without a body has those of its URL.

    Raises Invalid for one not in `known`, unless `lenient`.
    """
    given = of_url(request)
    if request.method == "POST":
        body = await request.body()
        if body:
            check_content_type(request.headers.get("content-type", ""))
            tree = await engine_of(request).read_body("Parameters", body)
            for name, values in of_parameters(tree).items():
                given.setdefault(name, []).extend(values)
    if not lenient:
        refuse_unknown(given, known)
    return given


def of_url(request: Request) -> Given:
    """Parameters of the query string."""
    given: Given = {}
    for name, value in request.query_params.multi_items():
        if name not in ABOUT_THE_ANSWER:
            given.setdefault(name, []).append(value)
    return given


def of_parameters(tree: Tree) -> Given:
    """Parameters of a valid Parameters resource."""
    given: Given = {}
    for parameter in tree.get("parameter", ()):
        content = [value for key, value in parameter.items() if key.startswith("value") or key == "resource"]
        given.setdefault(parameter["name"], []).extend(content)
    return given


def refuse_unknown(given: Given, known: AbstractSet[str]) -> None:
    """Raise Invalid naming the first parameter that the operation does not have."""
    unknown = sorted(set(given) - known)
    if unknown:
        listed = ", ".join(sorted(known)) or "none"
        raise Invalid(
            f"the operation has no parameter '{unknown[0]}'; it has {listed}",
            code="not-supported",
            expression=f"Parameters.parameter.where(name='{unknown[0]}')" if "'" not in unknown[0] else None,
        )


def only(given: Given, name: str) -> Any:
    """The one value of a parameter, None where it is absent. Raises Invalid for several."""
    values = given.get(name, ())
    if len(values) > 1:
        raise Invalid(f"{name} is given {len(values)} times; give it once", code="value")
    return values[0] if values else None


def instant_of(given: Given, name: str) -> datetime | None:
    """The first moment of a date, dateTime or instant, None where it is absent. Raises Invalid."""
    found = range_of_date(given, name)
    return found[0] if found else None


def range_of_date(given: Given, name: str) -> Range | None:
    """The range that a date covers at its precision, None where it is absent. Raises Invalid."""
    text = only(given, name)
    if text is None:
        return None
    try:
        return range_of(str(text).replace(" ", "+"))  # an unescaped '+' arrives as a space
    except ValueError:
        raise Invalid(
            f"{name}={text} is no date; send one such as 2026-11-25T08:00:00Z", code="value"
        ) from None


def count_of(given: Given, name: str) -> int | None:
    """A number from 1, None where it is absent. Raises Invalid."""
    text = only(given, name)
    if text is None:
        return None
    number = str(text)
    if not (number.isascii() and number.isdigit() and len(number) < 10 and int(number) > 0):
        raise Invalid(f"{name}={text} is not a count; send a whole number from 1", code="value")
    return int(number)


def types_of(given: Given, name: str) -> list[str]:
    """Resource types, each given by itself or several with commas, in their order. Raises Invalid for what is none."""
    named = [part.strip() for value in given.get(name, ()) for part in str(value).split(",") if part.strip()]
    unknown = [part for part in named if not is_resource_type(part)]
    if unknown:
        raise Invalid(f"{name}={unknown[0]} is not an R4 resource type that kanwa serves", code="value")
    return list(dict.fromkeys(named))

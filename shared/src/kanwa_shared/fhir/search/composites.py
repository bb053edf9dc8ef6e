"""Composite parameters whose parts must come from the same repetition of an element.

A component's code and value are such parts. The rows carry the code's form in their parameter name, so that
one index range answers for both.

    resource_quantity.param = "component-code-value-quantity=8480-6"
    tokens: "Observation.component-code-value-concept|http://loinc.org|8480-6$=LA6576-8"
"""

from collections.abc import Iterator
from typing import Any

from kanwa_shared.fhir.search.definitions import Component, SearchParameter
from kanwa_shared.fhir.search.tokens import forms_of
from kanwa_shared.fhir.search.values import Action, Rows, local_reference, quantity_ranges


def composite_action(parameter: SearchParameter) -> Action:
    """What to do with one repetition of the context of `parameter`; its first part is a token in R4."""
    first, second = parameter.components
    prefix = f"{parameter.resource_type}.{parameter.code}"

    def add_quantities(value: Any, rows: Rows) -> None:
        found = [
            amount for datatype, item in _values(second, value) for amount in quantity_ranges(datatype)(item)
        ]
        for form in _token_forms(first, value) if found else ():
            rows.quantities.extend((parameter.code + form, *amount) for amount in found)

    def add_tokens(value: Any, rows: Rows) -> None:
        forms = list(_second_forms(second, value, rows))
        for form in _token_forms(first, value) if forms else ():
            for other in forms:
                rows.tokens[f"{prefix}{form}${other}"] = None

    return add_quantities if second.type in ("quantity", "number") else add_tokens


def _values(component: Component, context: Any) -> Iterator[tuple[str, Any]]:
    """(data type, value) of a part; in R4 every part is a direct member of the context and has one value."""
    for path in component.paths:
        if path.path in context:
            yield path.datatype, context[path.path]


def _token_forms(component: Component, context: Any) -> Iterator[str]:
    for datatype, value in _values(component, context):
        yield from forms_of(datatype)(value)


def _second_forms(component: Component, context: Any, rows: Rows) -> Iterator[str]:
    if component.type != "reference":
        yield from _token_forms(component, context)
        return
    for _, value in _values(component, context):
        text = value.get("reference", "")
        target = local_reference(text, rows.base_url)
        if text:
            yield f"={target[0]}/{target[1]}" if target else f"={text}"

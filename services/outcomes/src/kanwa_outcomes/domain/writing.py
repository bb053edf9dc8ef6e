"""What a client may write: scores on their scale in their unit, and no outcome by hand."""

from collections.abc import Iterator
from decimal import Decimal

from kanwa_outcomes.domain.derived_observation import is_derived
from kanwa_outcomes.domain.measurements import in_range, is_unit_of
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import Measure, measures
from kanwa_shared.errors import Issue
from kanwa_shared.fhir.json_types import Tree

#: An Observation with one of these statuses says that its value does not hold.
WITHDRAWN = frozenset({"cancelled", "entered-in-error"})


def faults_of(observation: Tree) -> list[Issue]:
    """All that a client's Observation breaks; [] if nothing."""
    if is_derived(observation):
        text = (
            f"outcomes ({codes.OUTCOME}) are derived by kanwa from what was measured: send the measurements"
        )
        return [Issue("business-rule", text, ("Observation.code",))]
    if observation.get("status") in WITHDRAWN:
        return []
    known = (m for m in measures().values() if m.measures(observation.get("code", {})))
    return [issue for measure in known for issue in _measure_faults(observation, measure)]


def change_of_derived() -> Issue:
    """The refusal of a change to, or deletion of, what kanwa derived."""
    text = "this outcome is derived by kanwa and follows its inputs: correct the Observations in derivedFrom"
    return Issue("business-rule", text, ("Observation",))


def _measure_faults(observation: Tree, measure: Measure) -> Iterator[Issue]:
    quantity: Tree = observation.get("valueQuantity", {})
    unit = quantity.get("code", quantity.get("unit", measure.unit))
    if measure.kind != "quantity" and not is_unit_of(str(unit), measure):
        text = f"{measure.display} is sent in {measure.unit}, as valueInteger or valueQuantity; this one is in {unit}"
        yield Issue("business-rule", text, ("Observation.value",))
        return
    value = observation.get("valueInteger", quantity.get("value"))
    if value is not None and not in_range(Decimal(value), measure):
        text = f"{measure.display} is {value}: its scale goes from {measure.minimum} to {_end(measure)}"
        yield Issue("business-rule", text, ("Observation.value",))


def _end(measure: Measure) -> str:
    return "no upper end" if measure.maximum is None else str(measure.maximum)

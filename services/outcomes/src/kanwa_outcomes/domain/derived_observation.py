"""A finding as an Observation that names what it was derived from; nobody else may write one."""

from typing import Final
from uuid import NAMESPACE_URL, uuid5

from kanwa_outcomes.domain.findings import Finding
from kanwa_outcomes.domain.performed import Performed
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.bundle import instant
from kanwa_shared.fhir.json_types import Tree

_ABSENT: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"


def derived_id(performed: Performed, finding: Finding) -> str:
    """Always the same for one kind and day of one procedure, so that deriving again writes no second one."""
    return str(uuid5(NAMESPACE_URL, f"{performed.reference}/{finding.kind}/{finding.day}"))


def is_derived(observation: Tree) -> bool:
    """Whether an Observation's code says that kanwa derives it."""
    return bool(codes.codes_of(observation.get("code", {}), codes.OUTCOME))


def derived_observation(performed: Performed, finding: Finding) -> Tree:
    """The Observation of a finding: a function of the facts alone, without the time at which it was derived."""
    tree: Tree = {
        "resourceType": "Observation",
        "status": _status(finding),
        "category": [codes.concept(codes.OBSERVATION_CATEGORY, "therapy", "Therapy")],
        "code": codes.concept(codes.OUTCOME, finding.kind),
        "subject": performed.subject,
        "partOf": [{"reference": performed.reference}],
        **_value(finding),
        "note": [{"text": finding.note}],
    }
    if performed.request:
        tree["basedOn"] = [{"reference": performed.request}]
    if finding.follow_up is not None and finding.follow_up.time is not None:
        tree["effectiveDateTime"] = instant(finding.follow_up.time)
    if finding.inputs:
        tree["derivedFrom"] = [{"reference": m.reference} for m in finding.inputs]
    return tree


def withdrawn(observation: Tree) -> Tree:
    """A derived Observation whose inputs no longer bear it."""
    return {**observation, "status": "entered-in-error"}


def _status(finding: Finding) -> str:
    """As sure as its inputs: preliminary with one that is, amended with one that was."""
    statuses = {m.status for m in finding.inputs}
    if "preliminary" in statuses:
        return "preliminary"
    return "amended" if statuses & {"amended", "corrected"} else "final"


def _value(finding: Finding) -> Tree:
    if finding.system is not None and finding.code is not None:
        return {"valueCodeableConcept": codes.concept(finding.system, finding.code)}
    if finding.change is not None:
        unit = finding.unit or ""
        return {"valueQuantity": {"value": finding.change, "unit": unit, "system": codes.UCUM, "code": unit}}
    absent = codes.concept(_ABSENT, "not-performed", "Not Performed")
    return {"dataAbsentReason": {**absent, "text": finding.reason or finding.note}}

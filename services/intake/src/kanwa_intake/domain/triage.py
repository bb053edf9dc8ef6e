"""Triage: what a referral still needs, and what its readers should be warned of.

Every result is advice with its rule and source: a physician may deviate. One rule refuses: a vertebroplasty for
pain that is already in the range that counts as relief, since its effect could not be measured.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from kanwa_shared.clinical import codes
from kanwa_shared.clinical.bleeding import INR, PLATELETS, Advice, assess_bleeding, platelets_per_nanolitre
from kanwa_shared.clinical.catalogue import CatalogueEntry, procedure_of
from kanwa_shared.clinical.response import is_eligible
from kanwa_shared.errors import BusinessRule
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search.dates import range_of

PAIN: Final = "72514-3"

#: JIVROSG-0202 measured vertebroplasty; its eligibility is asked of this procedure alone.
BASELINE_RULE_FOR: Final = frozenset({"vertebroplasty"})

#: LOINC codes of the Observations that triage reads.
OBSERVATION_CODES: Final = (PAIN, INR, PLATELETS)

_NO_RESULT: Final = frozenset({"cancelled", "entered-in-error", "registered"})


@dataclass(frozen=True, slots=True)
class TriageFacts:
    """What is known about the patient: (reference, tree) of Observations and of other active ServiceRequests."""

    observations: Sequence[tuple[str, Tree]]
    active_requests: Sequence[tuple[str, Tree]]


@dataclass(frozen=True, slots=True)
class MissingItem:
    """An item that the referrer is asked for; `concept` is its CodeableConcept."""

    concept: Tree
    reason: str


@dataclass(frozen=True, slots=True)
class Triage:
    """The result: `missing` holds the MDT back, `advice` and `duplicates` (references) do not."""

    missing: tuple[MissingItem, ...]
    advice: tuple[Advice, ...]
    duplicates: tuple[str, ...]


def triage(service_request: Tree, facts: TriageFacts) -> Triage:
    """Judge a referral by what is known. Raises BusinessRule if its baseline pain makes it not eligible."""
    duplicates = tuple(_duplicates(service_request, facts.active_requests))
    procedure = procedure_of(service_request.get("code"))
    if procedure is None:
        return Triage((), (), duplicates)
    missing: list[MissingItem] = []
    if procedure.needs_baseline_pain:
        pain = _newest(PAIN, facts)
        if pain is None:
            missing.append(
                MissingItem(codes.loinc(PAIN), "the baseline pain, 0-10, from which relief is measured")
            )
        elif procedure.code in BASELINE_RULE_FOR:
            _check_pain(pain, procedure)
    platelets = _platelets(facts)
    unreadable = (PLATELETS,) if platelets is None and _newest(PLATELETS, facts) is not None else ()
    gate = assess_bleeding(procedure, inr=_value(INR, facts), platelets=platelets, unreadable=unreadable)
    missing += [MissingItem(codes.loinc(item.loinc), item.reason) for item in gate.missing]
    return Triage(tuple(missing), gate.advice, duplicates)


def detected_issues(reference: str, service_request: Tree, found: Triage, *, now: str) -> list[Tree]:
    """The advice and the possible duplicates as DetectedIssues, each with its rule and source in `detail`."""
    issues = [
        _issue(service_request, codes.DETECTED_ISSUE, advice.code, advice.text, [reference], now)
        for advice in found.advice
    ]
    for duplicate in found.duplicates:
        text = "Another active request asks for the same procedure at the same site of the same patient."
        issues.append(
            _issue(
                service_request, codes.DETECTED_ISSUE, "possible-duplicate", text, [reference, duplicate], now
            )
        )
    return issues


def answers_item(observation: Tree, task: Tree) -> bool:
    """Whether an Observation with a result has the code that a missing-information Task asks for."""
    if observation.get("status") in _NO_RESULT or "dataAbsentReason" in observation:
        return False
    given = _loinc_codes(observation.get("code", {}))
    return any(given & _loinc_codes(item.get("valueCodeableConcept", {})) for item in task.get("input", []))


def _issue(service_request: Tree, system: str, code: str, text: str, implicated: list[str], now: str) -> Tree:
    return {
        "resourceType": "DetectedIssue",
        "status": "preliminary",
        "code": codes.concept(system, code),
        "severity": "moderate",
        "patient": service_request["subject"],
        "identifiedDateTime": now,
        "implicated": [{"reference": reference} for reference in implicated],
        "detail": text,
    }


def _duplicates(service_request: Tree, others: Sequence[tuple[str, Tree]]) -> Iterator[str]:
    wanted = procedure_of(service_request.get("code"))
    if wanted is None:
        return
    site = service_request.get("bodySite")
    for reference, other in others:
        if procedure_of(other.get("code")) == wanted and other.get("bodySite") == site:
            yield reference


def _check_pain(pain: Tree, procedure: CatalogueEntry) -> None:
    score = pain.get("valueInteger", pain.get("valueQuantity", {}).get("value"))
    if score is not None and not is_eligible(Decimal(score)):
        raise BusinessRule(
            f"baseline pain {score} is 2 or less, which counts as relief already: {procedure.display} is not "
            "eligible (JIVROSG-0202, Kobayashi 2009, doi 10.1093/annonc/mdp242); refer with the pain that it is for",
            expression="ServiceRequest.code",
        )


def _value(code: str, facts: TriageFacts) -> Decimal | None:
    quantity = (_newest(code, facts) or {}).get("valueQuantity", {})
    return Decimal(quantity["value"]) if "value" in quantity and "comparator" not in quantity else None


def _platelets(facts: TriageFacts) -> Decimal | None:
    quantity = (_newest(PLATELETS, facts) or {}).get("valueQuantity", {})
    if "value" not in quantity or "comparator" in quantity:
        return None
    return platelets_per_nanolitre(Decimal(quantity["value"]), quantity.get("code") or quantity.get("unit"))


def _newest(code: str, facts: TriageFacts) -> Tree | None:
    results = [
        tree
        for _, tree in facts.observations
        if code in _loinc_codes(tree.get("code", {})) and tree.get("status") not in _NO_RESULT
    ]
    return max(results, key=_effective, default=None)


def _effective(observation: Tree) -> datetime:
    """When the value was true; a date without time or zone counts as its beginning in UTC."""
    text = (
        observation.get("effectiveDateTime") or observation.get("effectivePeriod", {}).get("start") or "0001"
    )
    return range_of(text)[0]


def _loinc_codes(concept: Tree) -> set[str]:
    return {str(c.get("code")) for c in concept.get("coding", []) if c.get("system") == codes.LOINC}

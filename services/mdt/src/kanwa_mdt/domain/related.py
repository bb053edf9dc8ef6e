"""Which facts belong to which referral."""

from collections.abc import Callable, Iterable
from typing import Final

from kanwa_mdt.domain.fact import STEPS, Fact
from kanwa_mdt.domain.references import target
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.json_types import Tree

_REFERRAL: Final = "ServiceRequest/"


class Related:
    """The facts of one referral: its own steps, what names them, and the patient's dossier.

    `facts` may hold more than belongs here, of other patients and referrals too: the result is the same. Facts
    come in the order of their references, so nothing depends on the order in which events arrived.
    """

    def __init__(self, request: Fact, facts: Iterable[Fact]):
        self.request = request
        self.patient = request.patient
        known = sorted((f for f in facts if f.content is not None), key=lambda fact: fact.reference)
        steps = {f.reference: f for f in known if f.resource_type in STEPS}
        own = {ref for ref, fact in steps.items() if request.reference in fact.links}
        foreign = {ref for ref, f in steps.items() if ref not in own and any(map(_is_referral, f.links))}
        self.facts = [f for f in known if f is not request and self._belongs(f, own, foreign)]
        self.members = (request.reference, *(fact.reference for fact in self.facts))

    def _belongs(self, fact: Fact, own: set[str], foreign: set[str]) -> bool:
        mine = self.request.reference
        if fact.reference in own or mine in fact.links or fact.links & own:
            return fact.resource_type != "ServiceRequest"
        if fact.patient is None or fact.patient != self.patient or fact.resource_type == "ServiceRequest":
            return False
        return not (fact.reference in foreign or fact.links & foreign or any(map(_is_referral, fact.links)))

    def of(self, *resource_types: str) -> list[Fact]:
        """Facts of these types that were not entered in error."""
        errors = "entered-in-error"
        return [f for f in self.facts if f.resource_type in resource_types and f.tree.get("status") != errors]

    def tasks(self, wanted: Callable[[Tree], bool]) -> list[Fact]:
        """Tasks about this referral of the wanted kind, oldest first."""
        focused = [f for f in self.of("Task") if target(f.tree, "focus") in {None, self.request.reference}]
        return sorted((f for f in focused if wanted(f.tree)), key=_by_authored)

    def based_on(self, resource_type: str) -> list[Fact]:
        """Appointments or Procedures of this referral, in the order of their references."""
        return [f for f in self.of(resource_type) if self.request.reference in f.links]

    def patient_fact(self) -> Fact | None:
        """The Patient, if it is known."""
        return next((f for f in self.facts if f.reference == self.patient), None)


def is_coordination(task: Tree) -> bool:
    """Whether the Task coordinates a referral (HL7 COW)."""
    return codes.has_coding(task.get("code", {}), codes.TASK_CODE, "fulfill")


def is_approval(task: Tree) -> bool:
    """Whether the Task asks the MDT."""
    return codes.has_coding(task.get("code", {}), codes.TASK_CODE, "approve")


def is_missing_information(task: Tree) -> bool:
    """Whether the Task asks the referrer for an item."""
    code = task.get("code", {})
    return codes.has_coding(code, codes.TASK, "missing-information") or codes.has_coding(
        code, codes.TASK, "prior-images"
    )


def is_follow_up(task: Tree) -> bool:
    """Whether the Task plans a measurement."""
    return codes.has_coding(task.get("code", {}), codes.TASK, "follow-up")


def _is_referral(reference: str) -> bool:
    return reference.startswith(_REFERRAL)


def _by_authored(fact: Fact) -> tuple[str, str]:
    return str(fact.tree.get("authoredOn", "")), fact.reference

"""What the team reads about the patient before it decides."""

from collections.abc import Callable, Iterable
from typing import Final

from kanwa_mdt.domain.case import Dossier, Line
from kanwa_mdt.domain.fact import Fact, is_performance
from kanwa_mdt.domain.measured import laboratory, value_line
from kanwa_mdt.domain.related import Related
from kanwa_mdt.domain.wording import begin, concept_words, moment
from kanwa_shared.fhir.json_types import Tree

_INACTIVE: Final = frozenset({"inactive", "remission", "resolved"})


def dossier(related: Related) -> Dossier:
    """The dossier of a referral, every list in an order that follows from its content."""
    observations = related.of("Observation")
    return Dossier(
        conditions=_lines(related.of("Condition"), _condition),
        laboratory=laboratory(observations),
        performance=tuple(value_line(f) for f in observations if is_performance(f.tree.get("code", {}))),
        imaging=_lines(related.of("ImagingStudy", "DiagnosticReport"), _imaging),
        documents=_lines(related.of("DocumentReference"), _document),
        allergies=_lines(related.of("AllergyIntolerance"), _allergy),
        medication=_lines(related.of("MedicationRequest", "MedicationStatement"), _medication),
        issues=_lines(related.of("DetectedIssue"), _issue),
    )


def _lines(facts: Iterable[Fact], line: Callable[[Fact, Tree], Line]) -> tuple[Line, ...]:
    lines = [line(fact, fact.tree) for fact in facts]
    return tuple(sorted(lines, key=_newest_first))


def _newest_first(line: Line) -> tuple[float, str, str]:
    return (-line.time.timestamp() if line.time else 0.0, line.title, line.reference)


def _condition(fact: Fact, tree: Tree) -> Line:
    status = concept_words(tree.get("clinicalStatus"))
    shown = status if status.lower() in _INACTIVE else ""
    return Line(
        fact.reference, concept_words(tree.get("code")), shown, moment(tree.get("onsetDateTime")), status
    )


def _imaging(fact: Fact, tree: Tree) -> Line:
    kind = ", ".join(str(m.get("code", "")) for m in tree.get("modality", ()))
    title = str(tree.get("description") or concept_words(tree.get("code")) or kind or fact.resource_type)
    detail = str(tree.get("conclusion") or (kind if kind != title else ""))
    when = moment(tree.get("started")) or begin(tree, "effective")
    return Line(fact.reference, title, detail, when, str(tree.get("status", "")))


def _document(fact: Fact, tree: Tree) -> Line:
    kind = concept_words(tree.get("type"))
    files = [c.get("attachment", {}) for c in tree.get("content", ())]
    names = [str(f.get("title") or f.get("contentType") or "") for f in files]
    title = str(tree.get("description") or kind or "Document")
    detail = ", ".join(part for part in (kind if kind != title else "", *names) if part)
    return Line(fact.reference, title, detail, moment(tree.get("date")), str(tree.get("status", "")))


def _allergy(fact: Fact, tree: Tree) -> Line:
    return Line(fact.reference, concept_words(tree.get("code")), str(tree.get("criticality", "")), None, "")


def _medication(fact: Fact, tree: Tree) -> Line:
    name = concept_words(tree.get("medicationCodeableConcept")) or "Medication"
    when = moment(tree.get("authoredOn")) or begin(tree, "effective")
    return Line(fact.reference, name, str(tree.get("status", "")), when, str(tree.get("status", "")))


def _issue(fact: Fact, tree: Tree) -> Line:
    title = concept_words(tree.get("code")) or "Warning"
    detail = str(tree.get("detail", ""))
    source = str(tree.get("reference", ""))
    said = f"{detail} Source: {source}" if source else detail
    return Line(
        fact.reference, title, said, moment(tree.get("identifiedDateTime")), str(tree.get("severity", ""))
    )

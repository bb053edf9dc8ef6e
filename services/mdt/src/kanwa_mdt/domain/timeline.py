"""One event in words, for the timeline of a case."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from kanwa_mdt.domain.related import is_approval, is_coordination, is_follow_up, is_missing_information
from kanwa_mdt.domain.wording import concept_words, human_name, value_words
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.json_types import Tree

#: What a title and a detail are: both plain text, the detail may be empty.
Words = tuple[str, str]


def describe(resource_type: str, version: int, tree: Tree | None) -> Words:
    """Say what one version of a resource tells; `tree` is None for a deletion."""
    if tree is None:
        return f"{_spaced(resource_type)} deleted", ""
    teller = _TELLERS.get(resource_type)
    return (
        teller(tree, version) if teller else (f"{_spaced(resource_type)} {_written(version)}", _about(tree))
    )


def _service_request(tree: Tree, version: int) -> Words:
    status = str(tree.get("status", ""))
    title = "Referral received" if version == 1 else f"Referral changed: {status}"
    return title, concept_words(tree.get("code"))


def _task(tree: Tree, version: int) -> Words:
    status, state = str(tree.get("status", "")), concept_words(tree.get("businessStatus"))
    reason = concept_words(tree.get("statusReason"))
    if is_coordination(tree):
        return f"Coordination: {state or status}", reason or f"Task {status}"
    if is_approval(tree):
        return _approval(tree, status)
    if is_missing_information(tree):
        title = {"completed": "Information arrived", "requested": "Information asked for"}.get(
            status, f"Request {status}"
        )
        return title, _input(tree) or str(tree.get("description", ""))
    if is_follow_up(tree):
        title = (
            "Follow-up done"
            if status == "completed"
            else "Follow-up planned"
            if version == 1
            else f"Follow-up {status}"
        )
        return title, _input(tree)
    return f"Task {status}", concept_words(tree.get("code"))


def _approval(tree: Tree, status: str) -> Words:
    if status != "completed":
        return ("MDT asked" if status == "requested" else f"MDT Task {status}"), str(
            tree.get("description", "")
        )
    outputs: list[Tree] = tree.get("output", [])
    decisions = [o["valueCodeableConcept"] for o in outputs if "valueCodeableConcept" in o]
    coded = [code for decision in decisions for code in codes.codes_of(decision, codes.MDT_DECISION)]
    words = (codes.display_of(codes.MDT_DECISION, coded[0]) or coded[0]).lower() if coded else "no decision"
    return f"MDT decided: {words}", " ".join(str(o["valueString"]) for o in outputs if "valueString" in o)


def _appointment(tree: Tree, version: int) -> Words:
    del version
    status = str(tree.get("status", ""))
    words = {"pending": "held", "noshow": "missed: the patient did not come", "proposed": "proposed"}.get(
        status, status
    )
    actors = [str(p.get("actor", {}).get("display", "")) for p in tree.get("participant", ())]
    places = [actor for actor in actors if actor]
    return f"Appointment {words}", " · ".join([*filter(None, [_clock(tree.get("start"))]), *places])


def _procedure(tree: Tree, version: int) -> Words:
    del version
    status = str(tree.get("status", ""))
    words = {"preparation": "prepared", "in-progress": "started", "not-done": "not done"}.get(status, status)
    return f"Procedure {words}", concept_words(tree.get("statusReason")) or concept_words(tree.get("code"))


def _observation(tree: Tree, version: int) -> Words:
    name, value = concept_words(tree.get("code")), value_words(tree)
    if codes.codes_of(tree.get("code", {}), codes.OUTCOME):
        return f"Outcome derived: {value}", name
    amended = "" if version == 1 else " (amended)"
    return f"{name or 'Observation'}: {value or 'no value'}{amended}", ""


def _detected_issue(tree: Tree, version: int) -> Words:
    del version
    return f"Warning: {concept_words(tree.get('code')) or 'issue'}", str(tree.get("detail", ""))


def _document(tree: Tree, version: int) -> Words:
    kind = concept_words(tree.get("type"))
    if codes.has_coding(tree.get("type", {}), codes.DOCUMENT_TYPE, "referral-summary"):
        return "Summary sent to the referrer", str(tree.get("description", ""))
    return f"Document {_written(version)}", str(tree.get("description") or kind)


def _care_plan(tree: Tree, version: int) -> Words:
    return f"Care plan {_written(version)}", str(tree.get("description") or tree.get("title") or "")


def _patient(tree: Tree, version: int) -> Words:
    family, given = human_name(tree.get("name", []))
    return f"Patient record {_written(version)}", " ".join(filter(None, (family, given)))


_TELLERS: Final[Mapping[str, Callable[[Tree, int], Words]]] = {
    "ServiceRequest": _service_request,
    "Task": _task,
    "Appointment": _appointment,
    "Procedure": _procedure,
    "Observation": _observation,
    "DetectedIssue": _detected_issue,
    "DocumentReference": _document,
    "CarePlan": _care_plan,
    "Patient": _patient,
}


def _about(tree: Tree) -> str:
    said: Any = concept_words(tree.get("code")) or tree.get("description") or tree.get("status") or ""
    return str(said)


def _input(tree: Tree) -> str:
    items = [i["valueCodeableConcept"] for i in tree.get("input", ()) if "valueCodeableConcept" in i]
    return concept_words(items[0]) if items else ""


def _clock(text: object) -> str:
    """A dateTime as it was written, to the minute: the suite's own clock."""
    return text[:16].replace("T", " ") if isinstance(text, str) else ""


def _written(version: int) -> str:
    return "recorded" if version == 1 else "changed"


def _spaced(resource_type: str) -> str:
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in resource_type).strip()
    return words[:1].upper() + words[1:]

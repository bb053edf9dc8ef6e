"""What the board remembers of an event: the newest version of a resource, cut down to what is shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from kanwa_mdt.domain.references import links, patient_of
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import measures
from kanwa_shared.fhir.json_text import parse
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.messaging.envelope import Event

_LABORATORY: Final = frozenset(
    {codes.INR, codes.PLATELETS, codes.HAEMOGLOBIN, codes.CREATININE, codes.BILIRUBIN, "98979-8"}
)
_PERFORMANCE: Final = frozenset({"89243-0", "89247-1"})

#: Members that the board reads, by type. Types that are not here stand in the log and the timeline only.
KEPT: Final[Mapping[str, tuple[str, ...]]] = {
    "Patient": ("name", "birthDate", "gender", "identifier", "deceasedBoolean", "deceasedDateTime"),
    "ServiceRequest": (
        "status", "intent", "priority", "code", "subject", "requester", "authoredOn", "bodySite",
        "reasonCode", "reasonReference", "occurrenceDateTime", "occurrencePeriod", "note", "supportingInfo",
    ),
    "Task": (
        "status", "businessStatus", "statusReason", "code", "description", "focus", "for", "owner",
        "requester", "restriction", "input", "output", "partOf", "basedOn", "authoredOn", "lastModified",
    ),
    "Appointment": ("status", "start", "end", "participant", "basedOn", "cancelationReason"),
    "Procedure": (
        "status", "statusReason", "code", "basedOn", "subject", "performedPeriod", "performedDateTime",
        "performer", "location", "complication",
    ),
    "Observation": (
        "status", "code", "subject", "basedOn", "partOf", "derivedFrom", "effectiveDateTime",
        "effectivePeriod", "effectiveInstant", "issued", "valueQuantity", "valueInteger",
        "valueCodeableConcept", "valueString", "valueBoolean", "dataAbsentReason",
    ),
    "Condition": ("clinicalStatus", "verificationStatus", "code", "onsetDateTime", "subject"),
    "AllergyIntolerance": ("clinicalStatus", "code", "criticality", "patient"),
    "MedicationRequest": ("status", "medicationCodeableConcept", "authoredOn", "subject"),
    "MedicationStatement": ("status", "medicationCodeableConcept", "effectiveDateTime", "subject"),
    "DocumentReference": ("status", "type", "description", "date", "subject", "context", "content"),
    "DiagnosticReport": (
        "status", "code", "effectiveDateTime", "effectivePeriod", "conclusion", "basedOn", "subject",
    ),
    "ImagingStudy": ("status", "started", "modality", "description", "basedOn", "subject"),
    "DetectedIssue": (
        "status", "code", "severity", "detail", "reference", "implicated", "identifiedDateTime", "patient",
    ),
    "CarePlan": ("status", "title", "description", "activity", "created", "subject"),
    "Practitioner": ("name",),
    "PractitionerRole": ("practitioner", "organization", "code"),
    "Organization": ("name",),
    "Location": ("name", "managingOrganization"),
    "HealthcareService": ("name",),
    "CareTeam": ("name", "participant"),
}  # fmt: skip

#: Resources that belong to a referral because they name it; what names one of them belongs to it too.
STEPS: Final = frozenset({"Task", "Appointment", "Procedure", "CarePlan"})


@dataclass(frozen=True, slots=True)
class Fact:
    """The newest known version of one resource.

    `content` holds the members of `KEPT`, None after a deletion; `links` are the `Type/id` it refers to,
    `patient` the one it is about. `time` is the version's commit.
    """

    reference: str
    version: int
    time: datetime
    patient: str | None
    links: frozenset[str]
    content: Tree | None

    @property
    def resource_type(self) -> str:
        """The part of the reference before the slash."""
        return self.reference.partition("/")[0]

    @property
    def id(self) -> str:
        """The part of the reference after the slash."""
        return self.reference.partition("/")[2]

    @property
    def tree(self) -> Tree:
        """The content, empty after a deletion."""
        return self.content or {}


@dataclass(frozen=True, slots=True)
class Reading:
    """An event as the log keeps it: whom it is about, what it refers to, and the fact in it, if any."""

    patient: str | None
    links: frozenset[str]
    fact: Fact | None


def read_event(event: Event) -> Reading:
    """Read an event. Raises kanwa_shared.errors.Unparsable if its body is no FHIR JSON."""
    kept = KEPT.get(event.resource_type)
    if event.body is None:
        fact = Fact(event.resource, event.version, event.time, None, frozenset(), None) if kept else None
        return Reading(None, frozenset(), fact)
    tree = {**parse(event.body), "id": event.resource_id}
    patient, found = patient_of(tree), links(tree)
    if kept is None:
        return Reading(patient, found, None)
    if not _is_shown(tree, found):
        # A version that is no longer of interest must still hide the older one that was.
        hidden = Fact(event.resource, event.version, event.time, None, frozenset(), None)
        return Reading(patient, found, hidden if event.version > 1 else None)
    content = {name: _without_attachment_data(name, tree[name]) for name in kept if name in tree}
    return Reading(patient, found, Fact(event.resource, event.version, event.time, patient, found, content))


def is_laboratory(code: Tree) -> bool:
    """Whether an Observation.code is one of the laboratory values that procedures are gated by."""
    return bool(_LABORATORY & set(codes.codes_of(code, codes.LOINC)))


def is_performance(code: Tree) -> bool:
    """Whether an Observation.code is Karnofsky or ECOG (mCODE)."""
    return bool(_PERFORMANCE & set(codes.codes_of(code, codes.LOINC)))


def _is_shown(tree: Tree, found: frozenset[str]) -> bool:
    """A patient may have thousands of Observations; those of the referral's own kinds are remembered."""
    if tree["resourceType"] != "Observation":
        return True
    code = tree.get("code", {})
    ours = any(str(c.get("system", "")).startswith(codes.CANONICAL) for c in code.get("coding", ()))
    measured = any(measure.measures(code) for measure in measures().values())
    named = any(reference.startswith(("ServiceRequest/", "Procedure/")) for reference in found)
    return ours or measured or named or is_laboratory(code) or is_performance(code)


def _without_attachment_data(name: str, value: Any) -> Any:
    if name != "content":
        return value
    shown = ("contentType", "title", "url", "creation")
    return [
        {"attachment": {k: c.get("attachment", {})[k] for k in shown if k in c.get("attachment", {})}}
        for c in value
    ]

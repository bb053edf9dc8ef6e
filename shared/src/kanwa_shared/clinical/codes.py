"""Canonical URLs and codes that several services write or look for, and builders of CodeableConcepts.

`CODES` lists every code of kanwa's own small code systems; the catalogue of procedures and the measures have
their own modules. LOINC codes are here only if they were seen with this display in a published source.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from kanwa_shared.fhir.json_types import Tree

CANONICAL: Final = "https://kanwa.example/fhir"

IR_PROCEDURE: Final = f"{CANONICAL}/CodeSystem/ir-procedure"
MEASURE: Final = f"{CANONICAL}/CodeSystem/measure"
TASK: Final = f"{CANONICAL}/CodeSystem/task"
TASK_INPUT: Final = f"{CANONICAL}/CodeSystem/task-input"
TASK_OUTPUT: Final = f"{CANONICAL}/CodeSystem/task-output"
MDT_DECISION: Final = f"{CANONICAL}/CodeSystem/mdt-decision"
BUSINESS_STATUS: Final = f"{CANONICAL}/CodeSystem/business-status"
OUTCOME: Final = f"{CANONICAL}/CodeSystem/outcome"
JIVROSG_RESPONSE: Final = f"{CANONICAL}/CodeSystem/jivrosg-response"
SYMPTOM_RESPONSE: Final = f"{CANONICAL}/CodeSystem/symptom-response"
BLEEDING_CONTROL: Final = f"{CANONICAL}/CodeSystem/bleeding-control"
DETECTED_ISSUE: Final = f"{CANONICAL}/CodeSystem/detected-issue"
DOCUMENT_TYPE: Final = f"{CANONICAL}/CodeSystem/document-type"
TEAM_ROLE: Final = f"{CANONICAL}/CodeSystem/team-role"
CANCELATION_REASON: Final = f"{CANONICAL}/CodeSystem/cancelation-reason"

TASK_CODE: Final = "http://hl7.org/fhir/CodeSystem/task-code"
LOINC: Final = "http://loinc.org"
UCUM: Final = "http://unitsofmeasure.org"
SNOMED_CT: Final = "http://snomed.info/sct"
OBSERVATION_CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category"

PAIN_NRS: Final = "72514-3"
INR: Final = "6301-6"
PLATELETS: Final = "777-3"
HAEMOGLOBIN: Final = "718-7"
CREATININE: Final = "2160-0"
BILIRUBIN: Final = "1975-2"


@dataclass(frozen=True, slots=True)
class LocalCode:
    """One code of a kanwa code system: its code, display and definition."""

    code: str
    display: str
    definition: str


@dataclass(frozen=True, slots=True)
class LocalSystem:
    """One kanwa code system: id (last part of its URL), title and codes."""

    id: str
    title: str
    codes: tuple[LocalCode, ...]


def _system(url: str, title: str, *rows: tuple[str, str, str]) -> tuple[str, LocalSystem]:
    return url, LocalSystem(url.rsplit("/", 1)[1], title, tuple(LocalCode(*row) for row in rows))


#: Every kanwa code system but the catalogue and the measures, by URL.
CODES: Final[Mapping[str, LocalSystem]] = MappingProxyType(
    dict(
        [
            _system(
                TASK,
                "Kinds of Task in the referral loop",
                (
                    "follow-up",
                    "Follow-up measurement",
                    "Measure what Task.input names, when Task.restriction says",
                ),
                (
                    "missing-information",
                    "Missing information",
                    "The referrer is asked for the item in Task.input",
                ),
                ("prior-images", "Prior images", "Earlier imaging is asked for"),
            ),
            _system(
                TASK_INPUT,
                "Inputs of Tasks",
                (
                    "measure",
                    "Measure",
                    "An Observation.code that answers the Task; any one of its codings will do",
                ),
                (
                    "day",
                    "Day after the procedure",
                    "Planned day of the measurement, counted from the procedure's end",
                ),
                ("primary", "Primary measure", "Whether the loop closes with this measurement"),
                ("missing-item", "Missing item", "The code of the item that is asked for"),
            ),
            _system(
                TASK_OUTPUT,
                "Outputs of Tasks",
                ("decision", "MDT decision", "valueCodeableConcept of CodeSystem mdt-decision"),
                ("rationale", "Rationale", "valueString: why the team decided so"),
                ("participant", "Participant", "valueReference: who took part"),
                ("procedure", "Procedure", "valueReference: the Procedure that was done"),
                ("summary", "Summary", "valueReference: the DocumentReference for the referrer"),
                (
                    "information",
                    "Information",
                    "valueReference: the resource that answers a request for information",
                ),
                ("measurement", "Measurement", "valueReference: the Observation that answers a follow-up"),
            ),
            _system(
                MDT_DECISION,
                "Decisions of the multidisciplinary team",
                ("recommended", "Recommended", "The procedure that was asked for is recommended"),
                ("alternative", "Alternative", "Another procedure is recommended; the rationale names it"),
                ("deferred", "Deferred", "The decision is postponed to a later meeting"),
                ("not-indicated", "Not indicated", "No interventional procedure is indicated"),
            ),
            _system(
                BUSINESS_STATUS,
                "Business status of a referral: HL7 BSeR and IHE 360X states, and what it waits for",
                ("2.0", "Referral created", "BSeR 2.0"),
                ("3.0", "Referral accepted", "BSeR 3.0"),
                ("4.0", "Referral declined", "BSeR 4.0"),
                ("5.1.1", "Event scheduled", "BSeR 5.1.1: an appointment is booked"),
                ("5.1.2", "Event unattended", "BSeR 5.1.2: the patient did not come"),
                ("5.1.3", "Event cancelled", "BSeR 5.1.3: the appointment was cancelled"),
                ("5.1.4", "Event completed", "BSeR 5.1.4: the procedure is done, its outcome is awaited"),
                ("5.2", "Cancellation requested", "BSeR 5.2"),
                ("6.0", "Fulfilment cancelled", "BSeR 6.0"),
                ("7.0", "Referral completed", "BSeR 7.0: the outcome was returned"),
                ("awaiting-information", "Awaiting information", "An item was asked of the referrer"),
                ("awaiting-mdt", "Awaiting the MDT", "The team has not decided yet"),
                ("awaiting-review", "Awaiting review", "An emergency that went ahead is to be reviewed"),
                ("deferred", "Deferred", "The team postponed its decision"),
            ),
            _system(
                OUTCOME,
                "Outcomes that kanwa derives; clients cannot write them",
                (
                    "jivrosg-response",
                    "JIVROSG pain response",
                    "SE, ME or NE at the primary day (JIVROSG-0202)",
                ),
                (
                    "response-at-follow-up",
                    "Pain response at another follow-up",
                    "The same rule at another planned day",
                ),
                (
                    "symptom-response",
                    "Symptom response to drainage",
                    "Symptom better for the stated days, or not",
                ),
                ("bleeding-control", "Bleeding control", "Rebleeding by the primary day, or none"),
                (
                    "measured-change",
                    "Measured change",
                    "Follow-up minus baseline, not judged",
                ),
            ),
            _system(
                JIVROSG_RESPONSE,
                "JIVROSG-0202 response classes (Kobayashi 2009, doi 10.1093/annonc/mdp242)",
                ("SE", "Significantly effective", "Decrease of at least 5, or a score of 0 to 2"),
                ("ME", "Moderately effective", "Decrease of at least 2 and less than 5"),
                ("NE", "Not effective", "Anything else, an increase included"),
                (
                    "NA",
                    "Not evaluable",
                    "No baseline above 2, or no measurement in the window; not the same as NE",
                ),
            ),
            _system(
                SYMPTOM_RESPONSE,
                "Symptom response",
                (
                    "improved",
                    "Improved",
                    "Better than the baseline at every measurement up to the primary day",
                ),
                (
                    "not-improved",
                    "Not improved",
                    "Not better than the baseline at some measurement up to that day",
                ),
                ("not-evaluable", "Not evaluable", "No baseline, or no measurement in the window"),
            ),
            _system(
                BLEEDING_CONTROL,
                "Bleeding control",
                ("no-rebleeding", "No rebleeding", "No rebleeding was reported up to the primary day"),
                ("rebleeding", "Rebleeding", "Rebleeding was reported after the procedure"),
                ("not-evaluable", "Not evaluable", "No report in the window"),
            ),
            _system(
                DETECTED_ISSUE,
                "Issues that kanwa detects",
                ("inr-above-threshold", "INR above threshold", "INR above what the bleeding class allows"),
                (
                    "platelets-below-threshold",
                    "Platelets below threshold",
                    "Below what the bleeding class allows",
                ),
                (
                    "arterial-access-inr",
                    "INR for arterial access",
                    "INR at or above the threshold of the access",
                ),
                (
                    "value-cannot-be-judged",
                    "Value cannot be judged",
                    "A value whose unit or form is not known",
                ),
                (
                    "possible-duplicate",
                    "Possible duplicate",
                    "Another active request asks for the same procedure",
                ),
                (
                    "baseline-too-low",
                    "Baseline too low",
                    "Relief cannot be measured from a baseline of 2 or less",
                ),
                ("value-out-of-range", "Value out of range", "A measurement outside the range of its scale"),
                (
                    "appointment-overlap",
                    "Appointment overlaps another",
                    "An Appointment of a transaction found its time taken; it reserves nobody",
                ),
                (
                    "derived-by-client",
                    "Derived outcome by a client",
                    "An outcome that kanwa derives was sent in",
                ),
            ),
            _system(
                TEAM_ROLE,
                "What an actor is for in a procedure (Schedule.serviceCategory, ServiceRequest.orderDetail)",
                ("suite", "Suite", "The room"),
                ("operator", "Operator", "The interventional radiologist; the Schedule names the skills"),
                ("nurse", "Nurse", "Nursing during the procedure"),
                ("anaesthesia", "Anaesthesia", "Anaesthetist or anaesthesia nurse"),
                ("device", "Device", "Equipment that is shared between suites"),
            ),
            _system(
                CANCELATION_REASON,
                "Why an appointment or procedure did not take place",
                (
                    "hold-expired",
                    "The hold ran out",
                    "The time was held and not booked before the hold ran out",
                ),
                ("referral-ended", "The referral was revoked", "ServiceRequest or coordination Task ended"),
                ("procedure-not-done", "The procedure was not done", "The suite called the procedure off"),
                ("no-show", "The patient did not come", "Makes a booked Appointment a no-show"),
            ),
            _system(
                DOCUMENT_TYPE,
                "Documents of the referral loop",
                (
                    "referral-summary",
                    "Referral summary",
                    "What was done and what came of it, for the referrer",
                ),
            ),
        ]
    )
)

#: Display by LOINC code, each seen in a published source or guide.
LOINC_DISPLAY: Final[Mapping[str, str]] = MappingProxyType(
    {
        PAIN_NRS: "Pain severity - 0-10 verbal numeric rating [Score] - Reported",
        INR: "INR in Platelet poor plasma by Coagulation assay",
        PLATELETS: "Platelets [#/volume] in Blood by Automated count",
        HAEMOGLOBIN: "Hemoglobin [Mass/volume] in Blood",
        CREATININE: "Creatinine [Mass/volume] in Serum or Plasma",
        BILIRUBIN: "Bilirubin.total [Mass/volume] in Serum or Plasma",
    }
)


def display_of(system: str, code: str) -> str | None:
    """The display that kanwa knows for a code, or None."""
    if system == LOINC:
        return LOINC_DISPLAY.get(code)
    known = CODES.get(system)
    return next((c.display for c in known.codes if c.code == code), None) if known else None


def coding(system: str, code: str, display: str | None = None) -> Tree:
    """A Coding; without `display`, the one that kanwa knows for the code, if any."""
    shown = display or display_of(system, code)
    return {"system": system, "code": code, **({"display": shown} if shown else {})}


def concept(system: str, code: str, display: str | None = None) -> Tree:
    """A CodeableConcept with one coding."""
    return {"coding": [coding(system, code, display)]}


def loinc(code: str) -> Tree:
    """A CodeableConcept of a LOINC code."""
    return concept(LOINC, code)


def business_status(code: str) -> Tree:
    """A Task.businessStatus: a BSeR/360X state such as 5.1.1, or what a received referral waits for.

    One that waits is still in BSeR's first state, and carries 2.0 as well.
    """
    waits = code in {"awaiting-information", "awaiting-mdt", "deferred"}
    return {"coding": [coding(BUSINESS_STATUS, each) for each in ((code, "2.0") if waits else (code,))]}


def has_coding(value: Tree, system: str, code: str) -> bool:
    """Whether a CodeableConcept carries the code."""
    return code in codes_of(value, system)


def codes_of(value: Tree, system: str) -> list[str]:
    """The codes of `system` in a CodeableConcept, in order."""
    return [str(c["code"]) for c in value.get("coding", ()) if c.get("system") == system and "code" in c]

"""The example cases: invented patients, one referral each."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import catalogue
from kanwa_shared.fhir.json_text import JsonDecimal

Tree = dict[str, Any]

LOINC: Final = "http://loinc.org"
UCUM: Final = "http://unitsofmeasure.org"


@dataclass(frozen=True, slots=True)
class Case:
    """One referral. `baseline` and `outcome` are values of the procedure's primary measure in its own unit.

    `stop_after` names the last step that the demonstration takes with it (see `drive.STEPS`).
    """

    procedure: str
    family: str
    given: str
    birth_date: str
    diagnosis: str
    baseline: str
    outcome: str
    priority: str = "routine"
    inr: str = "1.10"
    platelets: int = 180
    stop_after: str = "close"
    decision: str = "recommended"
    rationale: str = "Symptom is the leading burden; expected to benefit within the prognosis."


CASES: Final[tuple[Case, ...]] = (
    Case("vertebroplasty", "Aoki", "Haru", "1958-03-02", "Metastatic lung cancer", "8", "3"),
    Case("paracentesis", "Berg", "Ida", "1961-07-19", "Ovarian cancer with ascites", "7", "3"),
    Case(
        "biliary-stent", "Costa", "Rui", "1949-11-30", "Pancreatic cancer, jaundice", "14.2", "6.1", "urgent"
    ),
    Case("emergency-embolization", "Dietz", "Jon", "1955-01-08", "Bleeding gastric cancer", "0", "0", "stat"),
    Case("tunnelled-pleural-catheter", "Endo", "Mai", "1966-09-23", "Breast cancer, effusion", "6", "2"),
    Case(
        "bone-cryoablation",
        "Fabre",
        "Luc",
        "1970-05-14",
        "Renal cancer, iliac metastasis",
        "7",
        "4",
        stop_after="perform",
    ),
    Case(
        "svc-stent",
        "Goto",
        "Ken",
        "1952-12-01",
        "Small-cell lung cancer",
        "8",
        "1",
        "asap",
        stop_after="book",
    ),
    Case(
        "nephrostomy",
        "Horn",
        "Eva",
        "1947-04-27",
        "Cervical cancer, hydronephrosis",
        "4.8",
        "1.6",
        "urgent",
        stop_after="decide",
    ),
    Case(
        "celiac-neurolysis",
        "Ito",
        "Ren",
        "1963-08-11",
        "Pancreatic cancer, pain",
        "8",
        "5",
        stop_after="refer",
    ),
    Case(
        "bronchial-artery-embolization",
        "Juhl",
        "Per",
        "1959-02-20",
        "Lung cancer, haemoptysis",
        "0",
        "0",
        "asap",
        stop_after="refer",
    ),
    Case(
        "esophageal-stent",
        "Kato",
        "Nao",
        "1944-10-05",
        "Oesophageal cancer",
        "3",
        "1",
        stop_after="decide",
        decision="deferred",
        rationale="Await the CT of this week.",
    ),
    Case(
        "portal-vein-stent",
        "Lund",
        "Siv",
        "1951-06-16",
        "Cholangiocarcinoma",
        "6",
        "6",
        stop_after="decide",
        decision="not-indicated",
        rationale="Prognosis shorter than the time to benefit.",
    ),
)


REFERRER: Final[Tree] = {"resourceType": "Practitioner", "name": [{"family": "Referrer", "given": ["Kim"]}]}


def referral(case: Case, now: datetime, referrer: str | None = None) -> Tree:
    """The transaction Bundle that refers the case: patient, diagnosis, baseline, laboratory values, request.

    `referrer` is the reference of a Practitioner that exists; without one the Bundle brings its own.
    """
    patient, condition, practitioner = (f"urn:uuid:{uuid4()}" for _ in range(3))
    entries = [_entry(patient, _patient(case)), _entry(condition, _condition(case, patient))]
    if referrer is None:
        entries.append(_entry(practitioner, REFERRER))
    entries += [_entry(f"urn:uuid:{uuid4()}", tree) for tree in _observations(case, patient, now)]
    entries.append(
        _entry(
            f"urn:uuid:{uuid4()}", _service_request(case, patient, referrer or practitioner, condition, now)
        )
    )
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def measurement(case: Case, value: str, subject: Tree, procedure: str | None, effective: datetime) -> Tree:
    """An Observation of the case's primary measure; `procedure` is the reference it is part of."""
    entry = catalogue()[case.procedure]
    tree = _observation(entry.primary_measure.concept(), subject, effective)
    tree["valueQuantity"] = entry.primary_measure.quantity(JsonDecimal(value))
    if procedure:
        tree["partOf"] = [{"reference": procedure}]
    return tree


def _entry(full_url: str, resource: Tree) -> Tree:
    return {
        "fullUrl": full_url,
        "resource": resource,
        "request": {"method": "POST", "url": resource["resourceType"]},
    }


def _patient(case: Case) -> Tree:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": "https://kanwa.example/demo/patient", "value": str(uuid4())}],
        "name": [{"family": case.family, "given": [case.given]}],
        "birthDate": case.birth_date,
    }


def _condition(case: Case, patient: str) -> Tree:
    return {
        "resourceType": "Condition",
        "clinicalStatus": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}
            ]
        },
        "code": {"text": case.diagnosis},
        "subject": {"reference": patient},
    }


def _observations(case: Case, patient: str, now: datetime) -> list[Tree]:
    subject = {"reference": patient}
    before = now - timedelta(hours=2)
    inr = _observation(codes.loinc("6301-6"), subject, before)
    inr["valueQuantity"] = {"value": JsonDecimal(case.inr), "unit": "{INR}", "system": UCUM, "code": "{INR}"}
    platelets = _observation(codes.loinc("777-3"), subject, before)
    platelets["valueQuantity"] = {
        "value": case.platelets,
        "unit": "10*3/uL",
        "system": UCUM,
        "code": "10*3/uL",
    }
    return [measurement(case, case.baseline, subject, None, before), inr, platelets]


def _observation(code: Tree, subject: Tree, effective: datetime) -> Tree:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": code,
        "subject": subject,
        "effectiveDateTime": effective.isoformat(timespec="seconds"),
    }


def _service_request(case: Case, patient: str, practitioner: str, condition: str, now: datetime) -> Tree:
    entry = catalogue()[case.procedure]
    return {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "priority": case.priority,
        "code": codes.concept(codes.IR_PROCEDURE, case.procedure, entry.display),
        "subject": {"reference": patient},
        "authoredOn": now.isoformat(timespec="seconds"),
        "requester": {"reference": practitioner},
        "reasonReference": [{"reference": condition}],
    }

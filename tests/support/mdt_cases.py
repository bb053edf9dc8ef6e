"""Referrals told as the events that the services publish; resources as intake, scheduling and outcomes write them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import catalogue
from kanwa_shared.messaging.envelope import Event
from kanwa_shared.ownership import owner_of

Tree = dict[str, Any]

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DUE_HOURS = {"stat": 1, "asap": 24, "urgent": 72, "routine": 336}


class EventSource:
    """Gives each version of each resource its event: versions and sequences go up, ids follow from them."""

    def __init__(self, at: datetime = START) -> None:
        self.now = at
        self._versions: dict[str, int] = {}
        self._sequences: dict[str, int] = {}

    def told(self, tree: Tree) -> Event:
        """The event of the resource's next version."""
        return self._event(tree["resourceType"], tree["id"], json.dumps(tree).encode())

    def deleted(self, reference: str) -> Event:
        """The event of its deletion."""
        return self._event(*reference.split("/"), None)

    def _event(self, resource_type: str, id: str, body: bytes | None) -> Event:
        reference, service = f"{resource_type}/{id}", owner_of(resource_type)
        version = self._versions[reference] = self._versions.get(reference, 0) + 1
        sequence = self._sequences[service] = self._sequences.get(service, 0) + 1
        self.now += timedelta(seconds=1)
        return Event.of(
            id=str(uuid5(NAMESPACE_URL, f"{reference}/{version}")),
            service=service,
            resource_type=resource_type,
            resource_id=id,
            version=version,
            interaction="delete" if body is None else "create" if version == 1 else "update",
            time=self.now,
            sequence=sequence,
            body=body,
        )


@dataclass
class Referral:
    """One referral; each method is a step of the loop and gives the events that it publishes."""

    source: EventSource
    key: str
    procedure: str = "vertebroplasty"
    family: str = "Aoki"
    given: str = "Haru"
    born: str = "1958-03-02"
    diagnosis: str = "Metastatic lung cancer"
    priority: str = "routine"
    baseline: str = "8"
    inr: str = "1.10"
    tasks: dict[str, Tree] = field(default_factory=dict)
    appointment: Tree = field(default_factory=dict)
    performed: Tree = field(default_factory=dict)

    @property
    def request(self) -> str:
        return f"ServiceRequest/{self.key}"

    @property
    def patient(self) -> str:
        return f"Patient/{self.key}-patient"

    @property
    def mdt(self) -> str:
        return f"{self.key}-approve"

    def refer(self, *, missing: bool = False, issue: str = "") -> Iterator[Event]:
        """Patient, diagnosis, baseline and laboratory values, the request and its Tasks."""
        yield self.source.told(
            {
                "resourceType": "Patient",
                "id": f"{self.key}-patient",
                "name": [{"family": self.family, "given": [self.given]}],
                "birthDate": self.born,
                "gender": "female",
                "identifier": [{"system": "https://hospital.example/mrn", "value": f"MRN-{self.key}"}],
            }
        )
        yield self.source.told(
            {
                "resourceType": "Condition",
                "id": f"{self.key}-condition",
                "code": {"text": self.diagnosis},
                "subject": {"reference": self.patient},
            }
        )
        yield self.measured("baseline", self.baseline, self.source.now - timedelta(hours=2))
        if not missing:
            yield self.laboratory("inr", codes.INR, self.inr, "{INR}")
            yield self.laboratory("platelets", codes.PLATELETS, "180", "10*3/uL")
        yield self.source.told(self.service_request())
        yield from self._triaged(missing, issue)

    def service_request(self, **changes: Any) -> Tree:
        """The ServiceRequest."""
        entry = catalogue()[self.procedure]
        return {
            "resourceType": "ServiceRequest",
            "id": self.key,
            "status": "active",
            "intent": "order",
            "priority": self.priority,
            "code": codes.concept(codes.IR_PROCEDURE, self.procedure, entry.display),
            "subject": {"reference": self.patient},
            "authoredOn": self.source.now.isoformat(),
            "requester": {"reference": "Practitioner/referrer"},
            "reasonReference": [{"reference": f"Condition/{self.key}-condition"}],
            **changes,
        }

    def _triaged(self, missing: bool, issue: str) -> Iterator[Event]:
        emergency = self.priority == "stat"
        state = "3.0" if emergency else "awaiting-information" if missing else "awaiting-mdt"
        due = self.source.now + timedelta(hours=DUE_HOURS[self.priority])
        yield self.task(
            "fulfill",
            code=codes.concept(codes.TASK_CODE, "fulfill"),
            status="accepted" if emergency else "received",
            businessStatus=codes.business_status(state),
            restriction={"period": {"end": due.isoformat()}},
        )
        if issue:
            yield self.source.told(
                {
                    "resourceType": "DetectedIssue",
                    "id": f"{self.key}-issue",
                    "status": "preliminary",
                    "code": codes.concept(codes.DETECTED_ISSUE, "inr-above-threshold"),
                    "severity": "moderate",
                    "patient": {"reference": self.patient},
                    "implicated": [{"reference": self.request}],
                    "detail": issue,
                }
            )
        if missing:
            yield self.ask("inr", codes.INR, "INR within 1.5-1.8 for a high bleeding risk (SIR 2019)")
            yield self.ask(
                "platelets", codes.PLATELETS, "platelets above 50 for a high bleeding risk (SIR 2019)"
            )
        else:
            yield self.ask_mdt()

    def ask(self, name: str, loinc: str, reason: str) -> Event:
        """A missing-information Task."""
        return self.task(
            name,
            code=codes.concept(codes.TASK, "missing-information"),
            status="requested",
            description=reason,
            input=[
                {
                    "type": codes.concept(codes.TASK_INPUT, "missing-item"),
                    "valueCodeableConcept": codes.loinc(loinc),
                }
            ],
        )

    def ask_mdt(self) -> Event:
        """The MDT Task."""
        review = self.priority == "stat"
        return self.task(
            "approve",
            code=codes.concept(codes.TASK_CODE, "approve"),
            status="requested",
            businessStatus=codes.business_status("awaiting-review" if review else "awaiting-mdt"),
            description="Review of an emergency" if review else "MDT decision",
            partOf=[{"reference": f"Task/{self.key}-fulfill"}],
        )

    def decide(self, decision: str = "recommended", rationale: str = "Pain leads.") -> Iterator[Event]:
        """The decision and what intake makes of it."""
        yield self.task(
            "approve",
            status="completed",
            output=[
                {
                    "type": codes.concept(codes.TASK_OUTPUT, "decision"),
                    "valueCodeableConcept": codes.concept(codes.MDT_DECISION, decision),
                },
                {"type": codes.concept(codes.TASK_OUTPUT, "rationale"), "valueString": rationale},
                {
                    "type": codes.concept(codes.TASK_OUTPUT, "participant"),
                    "valueReference": {"display": "Dr. Mori"},
                },
            ],
        )
        if self.priority == "stat":
            return
        if decision == "recommended":
            yield self.coordinated("accepted", "3.0")
            yield self.source.told(
                {
                    "resourceType": "CarePlan",
                    "id": f"{self.key}-plan",
                    "status": "active",
                    "intent": "plan",
                    "title": "MDT recommendation",
                    "subject": {"reference": self.patient},
                    "activity": [{"reference": {"reference": self.request}}],
                }
            )
        elif decision == "deferred":
            yield self.coordinated("received", "deferred")
        else:
            yield self.coordinated("rejected", "4.0", statusReason={"text": rationale})

    def book(self, start: datetime | None = None, room: str = "Angio-CT suite 1") -> Iterator[Event]:
        """An Appointment and the prepared Procedure."""
        begin = start or self.source.now + timedelta(hours=20)
        self.appointment = {
            "resourceType": "Appointment",
            "id": f"{self.key}-visit",
            "status": "booked",
            "start": begin.isoformat(),
            "end": (begin + timedelta(hours=1)).isoformat(),
            "basedOn": [{"reference": self.request}],
            "participant": [
                {"actor": {"reference": self.patient}, "status": "accepted"},
                {"actor": {"reference": "Location/suite-central-angio-ct", "display": room}, "status": "accepted"},
                {"actor": {"reference": "Practitioner/sato", "display": "Dr. A. Sato"}, "status": "accepted"},
            ],
        }  # fmt: skip
        yield self.source.told(self.appointment)
        self.performed = {
            "resourceType": "Procedure",
            "id": f"{self.key}-procedure",
            "status": "preparation",
            "basedOn": [{"reference": self.request}],
            "subject": {"reference": self.patient},
            "code": self.service_request()["code"],
        }
        yield self.source.told(self.performed)
        yield self.coordinated("accepted", "5.1.1")

    def begin(self) -> Iterator[Event]:
        """The procedure starts."""
        self.performed |= {"status": "in-progress", "performedPeriod": {"start": self.appointment["start"]}}
        yield self.source.told(self.performed)
        yield self.coordinated("in-progress", "5.1.1")

    def perform(self) -> Iterator[Event]:
        """It is done, and follow-up is planned."""
        period = {"start": self.appointment["start"], "end": self.appointment["end"]}
        self.performed |= {"status": "completed", "performedPeriod": period}
        yield self.source.told(self.performed)
        self.appointment["status"] = "fulfilled"
        yield self.source.told(self.appointment)
        yield self.coordinated("in-progress", "5.1.4")
        entry, done = catalogue()[self.procedure], datetime.fromisoformat(period["end"])
        for day in entry.follow_up.days[:3]:
            yield self.task(
                f"day-{day}",
                code=codes.concept(codes.TASK, "follow-up"),
                status="requested",
                restriction={"period": {"end": (done + timedelta(days=day)).isoformat()}},
                input=[
                    {
                        "type": codes.concept(codes.TASK_INPUT, "measure"),
                        "valueCodeableConcept": entry.primary_measure.concept(),
                    }
                ],
            )

    def measure(self, value: str, day: int) -> Event:
        """A follow-up measurement."""
        done = datetime.fromisoformat(self.appointment["end"])
        return self.measured(f"day-{day}", value, done + timedelta(days=day), procedure=True)

    def classify(self, response: str) -> Event:
        """The derived outcome."""
        return self.source.told(
            {
                "resourceType": "Observation",
                "id": f"{self.key}-response",
                "status": "final",
                "code": codes.concept(codes.OUTCOME, "jivrosg-response"),
                "subject": {"reference": self.patient},
                "partOf": [{"reference": f"Procedure/{self.key}-procedure"}],
                "effectiveDateTime": self.source.now.isoformat(),
                "valueCodeableConcept": codes.concept(codes.JIVROSG_RESPONSE, response),
            }
        )

    def close(self) -> Iterator[Event]:
        """The summary, and the loop is closed."""
        yield self.source.told(
            {
                "resourceType": "DocumentReference",
                "id": f"{self.key}-summary",
                "status": "current",
                "type": codes.concept(codes.DOCUMENT_TYPE, "referral-summary"),
                "description": "Summary for the referrer",
                "subject": {"reference": self.patient},
                "context": {"related": [{"reference": self.request}]},
                "content": [{"attachment": {"contentType": "text/plain", "data": "c3VtbWFyeQ=="}}],
            }
        )
        yield self.coordinated("completed", "7.0")
        yield self.source.told(self.service_request(status="completed"))

    def coordinated(self, status: str, business: str, **changes: Any) -> Event:
        """The coordination Task's next version."""
        return self.task("fulfill", status=status, businessStatus=codes.business_status(business), **changes)

    def task(self, name: str, **changes: Any) -> Event:
        """A Task's first or next version."""
        known = self.tasks.get(name) or {
            "resourceType": "Task",
            "id": f"{self.key}-{name}",
            "intent": "order",
            "focus": {"reference": self.request},
            "for": {"reference": self.patient},
            "authoredOn": self.source.now.isoformat(),
        }
        self.tasks[name] = known | changes | {"lastModified": self.source.now.isoformat()}
        return self.source.told(self.tasks[name])

    def laboratory(self, name: str, loinc: str, value: str, unit: str) -> Event:
        """A laboratory value; its literal is kept."""
        tree = self._observation(name, codes.loinc(loinc), self.source.now - timedelta(hours=2))
        tree["valueQuantity"] = {"value": 0, "unit": unit, "code": unit, "system": codes.UCUM}
        return self._with_literal(tree, value)

    def measured(self, name: str, value: str, at: datetime, *, procedure: bool = False) -> Event:
        """An Observation of the primary measure."""
        measure = catalogue()[self.procedure].primary_measure
        tree = self._observation(name, measure.concept(), at)
        tree["valueQuantity"] = measure.quantity(0)
        if procedure:
            tree["partOf"] = [{"reference": f"Procedure/{self.key}-procedure"}]
        return self._with_literal(tree, value)

    def _observation(self, name: str, code: Tree, at: datetime) -> Tree:
        return {
            "resourceType": "Observation",
            "id": f"{self.key}-{name}",
            "status": "final",
            "code": code,
            "subject": {"reference": self.patient},
            "effectiveDateTime": at.isoformat(),
        }

    def _with_literal(self, tree: Tree, value: str) -> Event:
        event = self.source.told(tree)
        body = (event.body or b"").replace(b'"value": 0', f'"value": {value}'.encode())
        return Event(event.id, event.source, event.type, event.subject, event.time, event.sequence, body=body)


def whole_loop(referral: Referral, response: str = "SE") -> list[Event]:
    """Every event of a referral from the first to the last."""
    events = [*referral.refer(), *referral.decide(), *referral.book(), *referral.begin(), *referral.perform()]
    return [*events, referral.measure("3", 7), referral.classify(response), *referral.close()]


def people(source: EventSource) -> Iterator[Event]:
    """Those who refer, operate and take part in the meeting."""
    named = {"referrer": ("Kim", "Referrer"), "sato": ("A.", "Sato"), "mori": ("B.", "Mori")}
    for id, (given, family) in named.items():
        yield source.told(
            {"resourceType": "Practitioner", "id": id, "name": [{"family": family, "given": [given]}]}
        )
    yield source.told(
        {
            "resourceType": "Location",
            "id": "suite-central-angio-ct",
            "name": "Central Cancer Hospital: Angio-CT suite 1",
        }
    )

"""What scheduling writes: proposed, held and booked Appointments, and the prepared Procedure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, Literal
from uuid import UUID, uuid5

from kanwa_scheduling.domain.appointment import AppointmentStatus
from kanwa_scheduling.domain.facts import procedure_code
from kanwa_scheduling.domain.interval import Interval
from kanwa_scheduling.domain.procedure import ProcedureStatus
from kanwa_scheduling.domain.references import relative
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search.dates import range_of

HOLD_EXPIRES_URL: Final = "https://kanwa.example/fhir/StructureDefinition/hold-expires"
TRANSFER_URL: Final = "https://kanwa.example/fhir/StructureDefinition/transfer"

_PROCEDURES: Final = UUID("b0a3c2a6-5d1e-5a0c-9d2f-3f7f0a3c9b11")
#: Procedure.performer.actor takes these; the suite goes to Procedure.location.
_PERFORMER_TYPES: Final = frozenset({"Practitioner", "PractitionerRole", "Organization", "Device"})


def proposed_appointment(
    *,
    service_request_id: str,
    subject: Tree,
    concept: Tree,
    interval: Interval,
    zone: tzinfo,
    actors: Sequence[str],
    slot_ids: Sequence[str],
    requested: Interval,
    transfer: bool,
    displays: Mapping[str, str],
    length_of_stay: Tree | None = None,
) -> Tree:
    """An Appointment that could be booked; `actors` are references, the suite first.

    `zone` is that of the suite: times are written as its clock shows them. `displays` names actors;
    `length_of_stay` is the site's own extension for this procedure, if it states one.
    """
    proposed: Tree = {
        "resourceType": "Appointment",
        "status": AppointmentStatus.PROPOSED.value,
        "serviceType": [concept],
        "start": written(interval.start, zone),
        "end": written(interval.end, zone),
        "minutesDuration": int((interval.end - interval.start).total_seconds()) // 60,
        "slot": [{"reference": f"Slot/{id}"} for id in slot_ids],
        "basedOn": [{"reference": f"ServiceRequest/{service_request_id}"}],
        "participant": [_participant(subject)] + [_participant(_named(actor, displays)) for actor in actors],
        "requestedPeriod": [{"start": written(requested.start, zone), "end": written(requested.end, zone)}],
    }
    extensions = [{"url": TRANSFER_URL, "valueBoolean": True}] if transfer else []
    extensions += [length_of_stay] if length_of_stay is not None else []
    # An empty array is not valid FHIR.
    return {name: content for name, content in {**proposed, "extension": extensions}.items() if content != []}


def held_appointment(appointment: Tree, *, slot_ids: Sequence[str], expires_at: datetime) -> Tree:
    """The same Appointment, pending until `expires_at`."""
    held = _settled(appointment, AppointmentStatus.PENDING, slot_ids)
    extensions = [e for e in held.get("extension", ()) if e.get("url") != HOLD_EXPIRES_URL]
    held["extension"] = [
        *extensions,
        {"url": HOLD_EXPIRES_URL, "valueInstant": written(expires_at, UTC, "milliseconds")},
    ]
    return held


def booked_appointment(appointment: Tree, *, slot_ids: Sequence[str]) -> Tree:
    """The same Appointment, booked: the hold's end is gone and everybody who was asked has accepted."""
    booked = _settled(appointment, AppointmentStatus.BOOKED, slot_ids)
    extensions = [e for e in booked.get("extension", ()) if e.get("url") != HOLD_EXPIRES_URL]
    if extensions:
        booked["extension"] = extensions
    else:
        booked.pop("extension", None)
    booked["participant"] = [
        {**p, "status": "accepted"} if p.get("status") == "needs-action" else p for p in booked["participant"]
    ]
    return booked


def hold_expiry(appointment: Tree) -> datetime | None:
    """When the hold ends, if the Appointment says it."""
    stated = (
        e.get("valueInstant") for e in appointment.get("extension", ()) if e.get("url") == HOLD_EXPIRES_URL
    )
    text = next(stated, None)
    return range_of(text)[0] if text else None


def ended_appointment(appointment: Tree, status: AppointmentStatus, reason: Tree | None) -> Tree:
    """The same Appointment after its end: cancelled or noshow with a reason, or fulfilled."""
    ended = {**appointment, "status": status.value}
    if reason is not None:
        ended["cancelationReason"] = reason
    return ended


def procedure_id(service_request_id: str, ended_before: int) -> str:
    """The id of a referral's next Procedure; the same for every booking until that Procedure has ended."""
    return str(uuid5(_PROCEDURES, f"ServiceRequest/{service_request_id}#{ended_before}"))


def prepared_procedure(service_request: Tree, appointment: Tree) -> Tree:
    """The Procedure that a booked Appointment is for.

    Its code is the referral's, unless the Appointment was made for another procedure of the catalogue.
    """
    prepared: dict[str, Any] = {
        "resourceType": "Procedure",
        "basedOn": [{"reference": f"ServiceRequest/{service_request['id']}"}],
        "status": ProcedureStatus.PREPARATION.value,
        "code": _performed_code(service_request, appointment),
        "subject": service_request["subject"],
        "encounter": service_request.get("encounter"),
        "reasonCode": service_request.get("reasonCode"),
        "reasonReference": service_request.get("reasonReference"),
        "bodySite": service_request.get("bodySite"),
        **place_and_team(appointment),
    }
    return {name: content for name, content in prepared.items() if content}


def place_and_team(appointment: Tree) -> Tree:
    """`location` and `performer` of a Procedure, from its Appointment; None for absent ones."""
    actors = [p["actor"] for p in appointment.get("participant", ()) if "reference" in p.get("actor", {})]
    by_type = [(relative(actor["reference"]).partition("/")[0], actor) for actor in actors]
    rooms = [actor for kind, actor in by_type if kind == "Location"]
    performers = [{"actor": actor} for kind, actor in by_type if kind in _PERFORMER_TYPES]
    return {"location": rooms[0] if rooms else None, "performer": performers or None}


def with_place_and_team(procedure: Tree, appointment: Tree | None) -> Tree:
    """The Procedure moved to another Appointment's room and people, or to none."""
    changed = {name: content for name, content in procedure.items() if name not in ("location", "performer")}
    moved = place_and_team(appointment) if appointment is not None else {}
    return {**changed, **{name: content for name, content in moved.items() if content}}


def ended_procedure(procedure: Tree, reason: Tree) -> Tree:
    """The Procedure, not done, with its reason."""
    return {**procedure, "status": ProcedureStatus.NOT_DONE.value, "statusReason": reason}


def catalogue_concept(code: str, display: str) -> Tree:
    """A CodeableConcept of the catalogue."""
    return {**codes.concept(codes.IR_PROCEDURE, code, display), "text": display}


def written(moment: datetime, zone: tzinfo, precision: Literal["seconds", "milliseconds"] = "seconds") -> str:
    """A FHIR instant as the clock of `zone` shows it."""
    return moment.astimezone(zone).isoformat(timespec=precision).replace("+00:00", "Z")


def _performed_code(service_request: Tree, appointment: Tree) -> Tree | None:
    booked_for = procedure_code(appointment.get("serviceType", ()))
    ordered = service_request.get("code")
    if ordered and booked_for in (None, procedure_code([ordered])):
        return ordered
    return next((c for c in appointment.get("serviceType", ()) if procedure_code([c]) == booked_for), ordered)


def _settled(appointment: Tree, status: AppointmentStatus, slot_ids: Sequence[str]) -> Tree:
    settled = {name: content for name, content in appointment.items() if name not in ("id", "meta", "slot")}
    settled["status"] = status.value
    if slot_ids:
        settled["slot"] = [{"reference": f"Slot/{id}"} for id in slot_ids]
    return settled


def _participant(actor: Tree) -> Tree:
    return {"actor": actor, "required": "required", "status": "needs-action"}


def _named(reference: str, displays: Mapping[str, str]) -> Tree:
    display = displays.get(reference)
    return {"reference": reference, "display": display} if display else {"reference": reference}

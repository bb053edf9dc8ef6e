"""What scheduling reads in FHIR resources, as values that its rules work with."""

from collections.abc import Iterable
from datetime import datetime

from kanwa_scheduling.domain.calendars import (
    ScheduleFacts,
    SlotWindow,
    TeamRole,
)
from kanwa_scheduling.domain.interval import Interval
from kanwa_scheduling.domain.references import reference_id, relative
from kanwa_shared.clinical import codes
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search.dates import EARLIEST, LATEST, range_of


def referral_ids(resource: Tree) -> tuple[str, ...]:
    """Ids of the ServiceRequests that an Appointment or Procedure is based on, in their order."""
    found = [reference_id(based.get("reference"), "ServiceRequest") for based in resource.get("basedOn", ())]
    return tuple(dict.fromkeys(id for id in found if id))


def interval_of(resource: Tree) -> Interval | None:
    """From start to end of an Appointment or Slot; None if one is missing or nothing lies between them."""
    start, end = resource.get("start"), resource.get("end")
    if not isinstance(start, str) or not isinstance(end, str):
        return None
    interval = Interval(range_of(start)[0], range_of(end)[0])
    return interval if interval.start < interval.end else None


def period_of(period: Tree | None) -> Interval | None:
    """A Period; an open side reaches to the edge of time. None if there is no Period or it is empty."""
    if not period:
        return None
    start, end = period.get("start"), period.get("end")
    interval = Interval(range_of(start)[0] if start else EARLIEST, range_of(end)[1] if end else LATEST)
    return interval if interval.start < interval.end else None


def performed_end(procedure: Tree) -> datetime | None:
    """When a Procedure ended, if it says so."""
    end = procedure.get("performedPeriod", {}).get("end")
    return range_of(end)[0] if end else None


def codes_in(concepts: Iterable[Tree], system: str) -> frozenset[str]:
    """Codes of one system in CodeableConcepts."""
    return frozenset(
        coding["code"]
        for concept in concepts
        for coding in concept.get("coding", ())
        if coding.get("system") == system and "code" in coding
    )


def procedure_code(concepts: Iterable[Tree]) -> str | None:
    """The first code of the catalogue of IR procedures in CodeableConcepts, or None."""
    found = (
        coding.get("code")
        for concept in concepts
        for coding in concept.get("coding", ())
        if coding.get("system") == codes.IR_PROCEDURE
    )
    return next((code for code in found if code), None)


def schedule_facts(schedule: Tree, id: str) -> ScheduleFacts:
    """A Schedule as the calendar rules need it; R4 reads an absent `active` as unknown, kanwa as yes."""
    return ScheduleFacts(
        id=id,
        actors=tuple(relative(actor.get("reference", "")) for actor in schedule.get("actor", ())),
        active=schedule.get("active", True),
        horizon=period_of(schedule.get("planningHorizon")),
        procedures=codes_in(schedule.get("serviceType", ()), codes.IR_PROCEDURE),
        roles=codes_in(schedule.get("serviceCategory", ()), codes.TEAM_ROLE),
    )


def slot_window(slot: Tree, id: str, booked_for: str | None = None) -> SlotWindow | None:
    """A Slot as an interval; None if it belongs to no Schedule here or spans no time."""
    schedule_id = reference_id(slot.get("schedule", {}).get("reference"), "Schedule")
    interval = interval_of(slot)
    if schedule_id is None or interval is None or "status" not in slot:
        return None
    return SlotWindow(id, schedule_id, slot["status"], interval, booked_for)


def wanted_team(service_request: Tree) -> tuple[TeamRole, ...]:
    """The roles a referral needs: suite and operator, and what `orderDetail` or `performerType` names."""
    concepts = [*service_request.get("orderDetail", ()), service_request.get("performerType", {})]
    named = codes_in(concepts, codes.TEAM_ROLE)
    return tuple(
        role for role in TeamRole if role in (TeamRole.SUITE, TeamRole.OPERATOR) or role.value in named
    )

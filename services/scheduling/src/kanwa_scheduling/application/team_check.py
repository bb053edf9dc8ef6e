"""Whether the people and the room of an Appointment can do the procedure, and are on duty then."""

from collections.abc import Sequence

from kanwa_scheduling.application.hospital import Hospital
from kanwa_scheduling.domain.calendars import ActorCalendar, TeamRole
from kanwa_scheduling.domain.interval import Interval
from kanwa_shared.errors import BusinessRule, Conflict, Issue


def check_team(hospital: Hospital, procedure: str, team: Sequence[TeamRole], interval: Interval) -> None:
    """Raise BusinessRule for a role that nobody fills with the skill, Conflict for one who is not on duty.

    `hospital` holds the calendars of the Appointment's participants.
    """
    calendars = hospital.calendars(procedure)
    missing = [role for role in team if not any(calendar.role is role for calendar in calendars)]
    if missing:
        raise BusinessRule([_missing(role, procedure) for role in missing])
    off_duty = [
        calendar for calendar in calendars if calendar.role in team and not _on_duty(calendar, interval)
    ]
    if off_duty:
        raise Conflict([_off_duty(calendar) for calendar in off_duty])
    suites = [calendar for calendar in calendars if calendar.role is TeamRole.SUITE]
    strangers = [
        calendar
        for calendar in calendars
        if calendar.role is not TeamRole.SUITE and not any(calendar.works_at(suite) for suite in suites)
    ]
    if strangers:
        raise BusinessRule([_elsewhere(calendar) for calendar in strangers])


def _on_duty(calendar: ActorCalendar, interval: Interval) -> bool:
    return any(free.covers(interval) for free in calendar.free)


def _missing(role: TeamRole, procedure: str) -> Issue:
    return Issue(
        "business-rule",
        f"no participant is a {role} whose Schedule.serviceType names {procedure}; ask Appointment/$find",
        ("Appointment.participant",),
    )


def _off_duty(calendar: ActorCalendar) -> Issue:
    return Issue(
        "conflict",
        f"{calendar.reference} has no free Slot for all of that time; ask Appointment/$find for another time",
        ("Appointment.start",),
    )


def _elsewhere(calendar: ActorCalendar) -> Issue:
    return Issue(
        "business-rule",
        f"{calendar.reference} does not work where the procedure would take place",
        ("Appointment.participant",),
    )

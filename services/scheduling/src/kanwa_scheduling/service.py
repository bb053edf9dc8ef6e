"""Scheduling as the engine runs it: what it owns, keeps copies of, refuses and follows."""

from pathlib import Path
from typing import Final

from kanwa_scheduling.application.appointment_rules import keep_calendar
from kanwa_scheduling.application.book_appointment import book_appointment, hold_appointment
from kanwa_scheduling.application.conflicts import explain_conflict
from kanwa_scheduling.application.find_appointments import find_appointments
from kanwa_scheduling.application.procedure_rules import keep_life_cycle, move_appointment
from kanwa_scheduling.application.referral_events import release_closed_task, release_ended_referral
from kanwa_scheduling.application.release import release_expired_holds
from kanwa_scheduling.application.slot_rules import keep_slot_window
from kanwa_scheduling.settings import SchedulingSettings
from kanwa_shared.rest.service import Operation, Periodic, ServiceDefinition

_IHE: Final = "https://profiles.ihe.net/ITI/Scheduling/OperationDefinition/appointment-"

definition: Final = ServiceDefinition(
    name="scheduling",
    write_rules={
        "Appointment": [keep_calendar],
        "Procedure": [keep_life_cycle, move_appointment],
        "Slot": [keep_slot_window],
    },
    event_rules={
        "ServiceRequest": [release_ended_referral],
        "Task": [release_closed_task],
    },
    replicates=frozenset(
        {"ServiceRequest", "Task", "Patient", "PractitionerRole", "Practitioner", "Organization"}
    ),
    operations=(
        Operation("$find", "Appointment", find_appointments, _IHE + "find", affects_state=False),
        Operation("$hold", "Appointment", hold_appointment, _IHE + "hold"),
        Operation("$book", "Appointment", book_appointment, _IHE + "book"),
    ),
    periodic=(Periodic("release expired holds", 5.0, release_expired_holds),),
    migrations=Path(__file__).parent / "migrations",
    settings_class=SchedulingSettings,
    explain_conflict=explain_conflict,
)

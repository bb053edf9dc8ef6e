"""Outcomes as the engine runs it: the index of its rules."""

from pathlib import Path
from typing import Final

from kanwa_outcomes.application.follow import (
    close_overdue,
    follow_document,
    follow_observation,
    follow_patient_fact,
    follow_procedure,
    follow_request,
    follow_task,
)
from kanwa_outcomes.application.record import keep_adverse_event, record_observation
from kanwa_outcomes.settings import OutcomesSettings
from kanwa_shared.rest.service import Periodic, ServiceDefinition

OVERDUE_EVERY_SECONDS: Final = 60.0

REPLICATED: Final = frozenset(
    {
        "Condition",
        "Device",
        "DocumentReference",
        "Encounter",
        "Location",
        "Organization",
        "Patient",
        "Practitioner",
        "PractitionerRole",
        "Procedure",
        "ServiceRequest",
        "Task",
    }
)

definition: Final = ServiceDefinition(
    name="outcomes",
    settings_class=OutcomesSettings,
    write_rules={"Observation": (record_observation,), "AdverseEvent": (keep_adverse_event,)},
    event_rules={
        "Procedure": (follow_procedure,),
        "Observation": (follow_observation,),
        "AdverseEvent": (follow_patient_fact,),
        "Encounter": (follow_patient_fact,),
        "ServiceRequest": (follow_request,),
        "Task": (follow_task,),
        "DocumentReference": (follow_document,),
    },
    replicates=REPLICATED,
    migrations=Path(__file__).parent / "migrations",
    periodic=(Periodic("close-overdue", OVERDUE_EVERY_SECONDS, close_overdue),),
)

"""Intake as the engine runs it: the index of its rules."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kanwa_intake.application.decide import change_task
from kanwa_intake.application.deliver_notifications import deliver_notifications
from kanwa_intake.application.follow import follow_appointment_or_procedure, follow_summary, follow_task
from kanwa_intake.application.information import take_observation
from kanwa_intake.application.notify import notify_subscribers
from kanwa_intake.application.refer import write_service_request
from kanwa_intake.application.subscribe import write_subscription
from kanwa_intake.application.subscription_operations import (
    signing_secret,
    subscription_events,
    subscription_status,
)
from kanwa_intake.domain.subscription_topics import TOPIC_TYPES
from kanwa_intake.domain.subscription_topics_fhir import BACKPORT, subscription_capability, topic_resources
from kanwa_intake.settings import IntakeSettings
from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue_fhir import catalogue_resources
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.ownership import OUTCOMES_TYPES, SCHEDULING_TYPES
from kanwa_shared.profiles import profile_resources
from kanwa_shared.rest.service import Background, Operation, ServiceDefinition

_STATUS: Final = f"{BACKPORT}/OperationDefinition/backport-subscription-status"
_EVENTS: Final = f"{BACKPORT}/OperationDefinition/backport-subscription-events"
_SECRET: Final = f"{codes.CANONICAL}/OperationDefinition/subscription-signing-secret"


def published_resources() -> Sequence[Tree]:
    """What kanwa publishes read only: the catalogue with its codes, its profiles and its topics."""
    return (*catalogue_resources(), *profile_resources(), *topic_resources())


definition: Final = ServiceDefinition(
    name="intake",
    settings_class=IntakeSettings,
    write_rules={
        "ServiceRequest": (write_service_request,),
        "Task": (change_task,),
        "Subscription": (write_subscription,),
    },
    event_rules={
        "Task": (follow_task,),
        "Appointment": (follow_appointment_or_procedure,),
        "Procedure": (follow_appointment_or_procedure,),
        "Observation": (take_observation,),
        "DocumentReference": (follow_summary,),
    },
    every_event_rules=dict.fromkeys(sorted(TOPIC_TYPES), (notify_subscribers,)),
    # The transaction endpoint tells its clients when another service has written what it was handed.
    replicates=SCHEDULING_TYPES | OUTCOMES_TYPES,
    fixed=published_resources,
    operations=(
        Operation("$status", "Subscription", subscription_status, _STATUS, level="type", affects_state=False),
        Operation(
            "$status", "Subscription", subscription_status, _STATUS, level="instance", affects_state=False
        ),
        Operation(
            "$events", "Subscription", subscription_events, _EVENTS, level="instance", affects_state=False
        ),
        Operation("$signing-secret", "Subscription", signing_secret, _SECRET, level="instance"),
    ),
    background=(Background("notifications", deliver_notifications),),
    migrations=Path(__file__).parent / "migrations",
    capabilities={"Subscription": subscription_capability()},
)

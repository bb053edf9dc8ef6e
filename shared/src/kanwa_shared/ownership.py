"""Which service owns which R4 resource type: only the owner accepts writes of it."""

from typing import Final, Literal

ServiceName = Literal["intake", "scheduling", "outcomes"]

#: Answers what is asked of the server as a whole, `POST [base]` or `[base]/$meta`, and joins what the others say.
SYSTEM_SERVICE: Final[ServiceName] = "intake"

SCHEDULING_TYPES: Final = frozenset(
    {
        "HealthcareService",
        "Location",
        "Device",
        "Schedule",
        "Slot",
        "Appointment",
        "AppointmentResponse",
        "Procedure",
    }
)
OUTCOMES_TYPES: Final = frozenset(
    {
        "Observation",
        "QuestionnaireResponse",
        "Questionnaire",
        "DiagnosticReport",
        "AdverseEvent",
        "ResearchStudy",
        "ResearchSubject",
        "Measure",
        "MeasureReport",
    }
)


def owner_of(resource_type: str) -> ServiceName:
    """Name the service that owns `resource_type`.

    Intake owns every type that no other service names: the referral dossier may hold any R4 resource.
    The caller checks beforehand that the type exists in R4.
    """
    if resource_type in SCHEDULING_TYPES:
        return "scheduling"
    if resource_type in OUTCOMES_TYPES:
        return "outcomes"
    return "intake"

"""Which procedure of the catalogue a referral is planned as, and how long it takes."""

from dataclasses import dataclass

from kanwa_scheduling.domain.facts import procedure_code
from kanwa_scheduling.domain.proposal import catalogue_concept
from kanwa_scheduling.settings import SchedulingSettings
from kanwa_shared.clinical.catalogue import catalogue
from kanwa_shared.errors import BusinessRule
from kanwa_shared.fhir.json_types import Tree


@dataclass(frozen=True, slots=True)
class PlannedProcedure:
    """A procedure of the catalogue: its code, its CodeableConcept and its duration in minutes."""

    code: str
    concept: Tree
    minutes: int


def planned_procedure(
    service_request: Tree, asked_for: str | None, settings: SchedulingSettings
) -> PlannedProcedure:
    """The procedure that the client asks for, else the one that is referred for.

    Raises BusinessRule where neither names a code of the catalogue: suites and skills are matched by it.
    """
    code = asked_for or procedure_code([service_request.get("code", {})])
    if code is None:
        raise BusinessRule(
            "ServiceRequest.code has no code of CodeSystem/ir-procedure, so no suite or skill matches; "
            "give one in the parameter visit-type",
            expression="ServiceRequest.code",
        )
    entry = catalogue().get(code)
    if entry is None:
        raise BusinessRule(
            f"'{code}' is not in CodeSystem/ir-procedure",
            expression="ServiceRequest.code",
            code="code-invalid",
        )
    return PlannedProcedure(
        code,
        catalogue_concept(code, entry.display),
        entry.duration_minutes,
    )

"""The hospital group as FHIR resources; invented, with no person behind any name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import catalogue

Tree = dict[str, Any]

WEEKS: Final = 4
TEAM_ROLE: Final = "https://kanwa.example/fhir/CodeSystem/team-role"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who or what has a calendar. `groups` are the catalogue groups it is equipped or skilled for.

    `around_the_clock` is the emergency cover; the others work on weekdays from 8:00 to 17:00.
    """

    id: str
    name: str
    site: str
    groups: tuple[str, ...]
    around_the_clock: bool = False


ALL_GROUPS: Final = ("drainage", "stent", "pain", "bleeding")
SITES: Final = {"central": "Central Cancer Hospital", "harbour": "Harbour General Hospital"}
SUITES: Final = (
    Actor("suite-central-angio-ct", "Angio-CT suite 1", "central", ALL_GROUPS, around_the_clock=True),
    Actor("suite-central-angio", "Angiography suite 2", "central", ("drainage", "stent", "bleeding")),
    Actor("suite-harbour-ct", "CT suite", "harbour", ("drainage", "pain")),
)
OPERATORS: Final = (
    Actor("operator-on-call", "IR on call", "central", ALL_GROUPS, around_the_clock=True),
    Actor("operator-sato", "Dr. A. Sato", "central", ("pain", "drainage")),
    Actor("operator-mori", "Dr. B. Mori", "central", ("stent", "bleeding", "drainage")),
    Actor("operator-kato", "Dr. C. Kato", "harbour", ("drainage", "pain")),
)


def fixed_resources() -> list[Tree]:
    """Everything but the Slots, owners before those that refer to them."""
    return [*_organisation(), *_suites(), *_operators(), *_schedules()]


def slots(first_day: date, last_day: date, zone: ZoneInfo) -> Iterator[Tree]:
    """Free Slots of every Schedule from `first_day` to `last_day`, both included."""
    days = [first_day + timedelta(days=n) for n in range((last_day - first_day).days + 1)]
    for actor in (*SUITES, *OPERATORS):
        for day in days:
            if actor.around_the_clock:
                yield _slot(actor, day, time(0), time(0), zone)
            elif day.weekday() < 5:
                yield _slot(actor, day, time(8), time(17), zone)


def _organisation() -> list[Tree]:
    organisations: list[Tree] = [
        {
            "resourceType": "Organization",
            "id": f"hospital-{site}",
            "active": True,
            "type": [
                {
                    "coding": [
                        {"system": "http://terminology.hl7.org/CodeSystem/organization-type", "code": "prov"}
                    ]
                }
            ],
            "name": name,
        }
        for site, name in SITES.items()
    ]
    service = {
        "resourceType": "HealthcareService",
        "id": "palliative-ir",
        "active": True,
        "providedBy": {"reference": "Organization/hospital-central"},
        "name": "Palliative interventional radiology",
    }
    team = {
        "resourceType": "CareTeam",
        "id": "palliative-mdt",
        "status": "active",
        "name": "Palliative care MDT",
        "managingOrganization": [{"reference": "Organization/hospital-central"}],
    }
    return [*organisations, service, team]


def _suites() -> list[Tree]:
    return [
        {
            "resourceType": "Location",
            "id": suite.id,
            "status": "active",
            "name": f"{SITES[suite.site]}: {suite.name}",
            "mode": "instance",
            "managingOrganization": {"reference": f"Organization/hospital-{suite.site}"},
        }
        for suite in SUITES
    ]


def _operators() -> Iterator[Tree]:
    for operator in OPERATORS:
        yield {
            "resourceType": "Practitioner",
            "id": f"practitioner-{operator.id.removeprefix('operator-')}",
            "active": True,
            "name": [{"text": operator.name}],
        }
        yield {
            "resourceType": "PractitionerRole",
            "id": operator.id,
            "active": True,
            "practitioner": {
                "reference": f"Practitioner/practitioner-{operator.id.removeprefix('operator-')}",
                "display": operator.name,
            },
            "organization": {"reference": f"Organization/hospital-{operator.site}"},
            "specialty": [
                {
                    "coding": [
                        {
                            "system": "http://snomed.info/sct",
                            "code": "408455009",
                            "display": "Radiology-Interventional radiology",
                        }
                    ]
                }
            ],
        }


def _schedules() -> Iterator[Tree]:
    for role, reference_type, actors in (
        ("suite", "Location", SUITES),
        ("operator", "PractitionerRole", OPERATORS),
    ):
        for actor in actors:
            yield {
                "resourceType": "Schedule",
                "id": f"schedule-{actor.id}",
                "active": True,
                "serviceCategory": [codes.concept(TEAM_ROLE, role)],
                "serviceType": [
                    codes.concept(codes.IR_PROCEDURE, code) for code in _procedures(actor.groups)
                ],
                "actor": [{"reference": f"{reference_type}/{actor.id}", "display": actor.name}],
            }


def _procedures(groups: Sequence[str]) -> list[str]:
    return [entry.code for entry in catalogue().values() if set(groups) & set(entry.groups)]


def _slot(actor: Actor, day: date, opens: time, closes: time, zone: ZoneInfo) -> Tree:
    start = datetime.combine(day, opens, zone)
    end = datetime.combine(day if closes > opens else day + timedelta(days=1), closes, zone)
    return {
        "resourceType": "Slot",
        "id": f"{actor.id}-{day.isoformat()}",
        "schedule": {"reference": f"Schedule/schedule-{actor.id}"},
        "status": "free",
        "start": start.isoformat(),
        "end": end.isoformat(),
    }

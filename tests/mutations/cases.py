"""One resource with the verdict that R4 gives it, and how places in a tree are found and changed."""

import copy
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from kanwa_shared.fhir import json_text
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation import validate
from kanwa_shared.fhir.validation.definitions import Member, Part, part

REPOSITORY: Final = Path(__file__).parents[2]
EXAMPLES: Final = REPOSITORY / "shared/examples/valid"
FHIR_FILES: Final = Path(os.environ.get("KANWA_FHIR_DATA", REPOSITORY.parent / "shared/fhir-data"))
_OFFICIAL: Final = "hl7-r4-examples"
_LARGEST_BYTES: Final = 8_000

_LISTED: Final = """
    ServiceRequest Task Patient Practitioner PractitionerRole Organization Condition CareTeam
    CarePlan Goal Consent Communication DocumentReference ImagingStudy DetectedIssue Flag CodeSystem
    ValueSet PlanDefinition ActivityDefinition Subscription AuditEvent Provenance MedicationRequest
    AllergyIntolerance Immunization Encounter HealthcareService Location Device Schedule Slot
    Appointment AppointmentResponse Procedure Observation QuestionnaireResponse Questionnaire
    DiagnosticReport AdverseEvent ResearchStudy ResearchSubject Measure MeasureReport
"""
#: The types that kanwa's services own by name, and those of the dossier that every referral brings.
OWNED: Final = tuple(_LISTED.split())

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """A resource, whether R4 allows it, and which operator made it where."""

    operator: str
    seed: str
    where: str
    tree: Tree
    valid: bool

    @property
    def name(self) -> str:
        """What a report calls the case."""
        return f"{self.operator} {self.seed} {self.where}".rstrip()


@dataclass(frozen=True, slots=True)
class Spot:
    """One member of an object in a tree: the object's place and type, and the member."""

    place: Place
    kind: Part
    member: Member
    value: Any

    @property
    def where(self) -> str:
        """The place in words, such as `name[0].family`."""
        steps = (
            f"[{step}]" if isinstance(step, int) else f".{step}" for step in (*self.place, self.member.key)
        )
        return "".join(steps).lstrip(".")


@cache
def seeds() -> dict[str, list[tuple[str, Tree]]]:
    """Valid resources by type, each with its name: kanwa's examples, and HL7's where they are at hand."""
    found: dict[str, list[tuple[str, Tree]]] = {name: [] for name in OWNED}
    official = sorted(
        FHIR_FILES.glob(f"{_OFFICIAL}/*/*.json"), key=lambda path: (path.stat().st_size, path.name)
    )
    for path in [*sorted(EXAMPLES.glob("*.json")), *official]:
        if path.stat().st_size > _LARGEST_BYTES or (path.parent.name not in ("valid", *OWNED)):
            continue
        tree = json_text.parse(path.read_bytes())
        if tree["resourceType"] in found and not validate(tree):
            found[tree["resourceType"]].append((path.stem, tree))
    return found


def spots(tree: Tree, kind: Part | None = None, place: Place = ()) -> Iterator[Spot]:
    """Every member of every object of a valid tree, outermost first; contained resources are left out."""
    kind = kind or part(tree["resourceType"])
    for key, value in tree.items():
        member = kind.members.get(key)
        if member is None or member.sibling or key in ("contained", "text"):
            continue
        yield Spot(place, kind, member, value)
        if member.test is None and member.type_name != "Resource":
            for position, item in enumerate(value) if isinstance(value, list) else [(None, value)]:
                inner = (*place, key) if position is None else (*place, key, position)
                if isinstance(item, dict):
                    yield from spots(item, member.part, inner)


def changed(tree: Tree, place: Place, key: str, value: Any) -> Tree:
    """A copy with `key` of the object at `place` set, or taken away if `value` is `GONE`."""
    copied = copy.deepcopy(tree)
    node: Any = copied
    for step in place:
        node = node[step]
    if value is GONE:
        del node[key]
    else:
        node[key] = value
    return copied


GONE: Final = object()

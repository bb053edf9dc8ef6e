"""The catalogue of palliative IR procedures: 35 entries, each figure with its source, none invented.

Marks: S seen in the named source, C computed from what was seen, M from memory, n/s not seen. A figure
marked M is kept for the editor of the catalogue and never shown: `NO_FIGURE` stands for it.
"""

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

from kanwa_shared.clinical import codes
from kanwa_shared.fhir.json_types import Tree

_FILE: Final = Path(__file__).with_name("catalogue.json")
NO_FIGURE: Final = "no figure seen"
#: Almost no study reports the length of stay, so it is a value of each site and never a default.
LENGTH_OF_STAY: Final = "ask site"

Group = Literal["drainage", "stent", "pain", "bleeding"]
Mark = Literal["S", "C", "M", "n/s"]
OutcomeRule = Literal["jivrosg-response", "symptom-response", "bleeding-control", "measured-change"]

# The four groups as the founding abstract numbers them (Ann Oncol 2012;23 suppl.).
ROMAN: Final[Mapping[Group, str]] = MappingProxyType(
    {"drainage": "i", "stent": "ii", "pain": "iii", "bleeding": "iv"}
)


class Figure(msgspec.Struct, frozen=True):
    """A statement of a study: `text` as published, `n` patients (None: not seen), `source` a citation."""

    text: str
    n: int | None
    source: str | None
    mark: Mark

    @property
    def shown(self) -> bool:
        """Whether it may be shown: seen in a source that is named, or computed from what was seen."""
        return self.mark in {"S", "C"} and self.source is not None

    @property
    def line(self) -> str:
        """The figure with its source, number of patients and mark; `NO_FIGURE` where it may not be shown."""
        if not self.shown:
            return NO_FIGURE
        patients = f"n={self.n}" if self.n is not None else "n not seen"
        return f"{self.text} [{self.mark}; {patients}; {self.source}]"


class BleedingClass(msgspec.Struct, frozen=True, rename={"code": "class"}):
    """Bleeding risk of a procedure in one scheme; schemes are never mixed.

    `judged_as` is the class whose thresholds are shown: the stricter one where the class is open, a project
    choice. `arterial` procedures have INR thresholds by the artery punctured.
    """

    code: Literal["low", "high", "conditional", "unclassified"]
    judged_as: Literal["low", "high"]
    mark: Mark
    scheme: str
    condition: str | None = None
    arterial: bool = False


class Measure(msgspec.Struct, frozen=True):
    """What is measured before and after; `minimum` and `maximum` in `unit` (UCUM), None where open.

    A yes-no measure is 0 or 1. `better` is the direction of relief.
    """

    id: str
    display: str
    kind: Literal["score", "quantity", "count", "yes-no"]
    unit: str
    better: Literal["lower", "higher"]
    minimum: int | None
    maximum: int | None
    loinc: tuple[str, ...]
    note: str | None = None

    def codings(self) -> list[Tree]:
        """Every coding by which an Observation may name it, LOINC first."""
        known = [codes.coding(codes.LOINC, code) for code in self.loinc]
        return [*known, codes.coding(codes.MEASURE, self.id, self.display)]

    def concept(self) -> Tree:
        """A CodeableConcept with every coding that is accepted for this measure."""
        return {"coding": self.codings(), "text": self.display}

    def measures(self, concept: Tree) -> bool:
        """Whether an Observation.code names this measure."""
        return codes.has_coding(concept, codes.MEASURE, self.id) or any(
            code in self.loinc for code in codes.codes_of(concept, codes.LOINC)
        )

    def quantity(self, value: Decimal | int) -> Tree:
        """A valueQuantity in the measure's unit."""
        return {"value": value, "unit": self.unit, "system": codes.UCUM, "code": self.unit}


class FollowUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When what is measured; `days` and `primary_window` (first and last day) count from the procedure's end.

    The loop closes with a value of `primary` within the window, of several the one nearest to `primary_day`.
    """

    primary: Measure
    primary_day: int
    primary_window: tuple[float, float]
    measures: tuple[Measure, ...]
    days: tuple[int, ...]
    mark: Mark
    note: str | None = None


class CatalogueEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One procedure. What no source gives is an empty tuple: show `NO_FIGURE`.

    `outcome` is the rule by which its result is derived. `duration_minutes` is room time, a project choice.
    """

    code: str
    display: str
    groups: tuple[Group, ...]
    indication: str
    symptom: str
    bleeding: BleedingClass
    checks: tuple[str, ...]
    contraindications: tuple[Figure, ...]
    success: tuple[Figure, ...]
    complications: tuple[Figure, ...]
    effects: tuple[Figure, ...]
    follow_up: FollowUp
    outcome: OutcomeRule
    duration_minutes: int
    sources: tuple[str, ...]

    @property
    def group(self) -> Group:
        """The first of its groups."""
        return self.groups[0]

    @property
    def primary_measure(self) -> Measure:
        """What closes the loop."""
        return self.follow_up.primary

    @property
    def needs_baseline_pain(self) -> bool:
        """Whether relief cannot be judged without the pain before: the procedures for pain."""
        return self.outcome == "jivrosg-response"

    @property
    def follow_up_days(self) -> tuple[int, ...]:
        """Every planned day, the primary one included."""
        return tuple(sorted({*self.follow_up.days, self.follow_up.primary_day}))


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: str
    duration_note: str
    follow_up_note: str
    measures: list[Measure]
    procedures: list[dict[str, Any]]


@cache
def catalogue() -> Mapping[str, CatalogueEntry]:
    """Every entry by its ir-procedure code, in the catalogue's order."""
    known = measures()
    entries = [_entry(row, known) for row in _read().procedures]
    return MappingProxyType({entry.code: entry for entry in entries})


@cache
def measures() -> Mapping[str, Measure]:
    """Every measure by its id."""
    return MappingProxyType({measure.id: measure for measure in _read().measures})


def catalogue_version() -> str:
    """The version of the catalogue's content."""
    return _read().version


def choices() -> tuple[str, str]:
    """What in the catalogue is a project choice and not a finding: about durations, about follow-up."""
    return _read().duration_note, _read().follow_up_note


def procedure_of(concept: Tree | None) -> CatalogueEntry | None:
    """The entry that a CodeableConcept names, None for free text and codes of other systems."""
    known = (catalogue().get(code) for code in codes.codes_of(concept or {}, codes.IR_PROCEDURE))
    return next((entry for entry in known if entry is not None), None)


@cache
def _read() -> _File:
    return msgspec.json.decode(_FILE.read_bytes(), type=_File)


def _entry(row: dict[str, Any], known: Mapping[str, Measure]) -> CatalogueEntry:
    """The file names measures by id; an entry holds them."""
    plan: dict[str, Any] = {**row["follow_up"]}
    primary: dict[str, Any] = plan.pop("primary")
    follow_up = {
        **plan,
        "primary": msgspec.to_builtins(known[primary["measure"]]),
        "primary_day": primary["day"],
        "primary_window": primary["window"],
        "measures": [msgspec.to_builtins(known[name]) for name in plan["measures"]],
    }
    return msgspec.convert({**row, "follow_up": follow_up}, CatalogueEntry)

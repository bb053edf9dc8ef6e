"""The bleeding-risk gate: SIR 2019 consensus on periprocedural haemostasis, two levels.

Source: Society of Interventional Radiology consensus guidelines 2019, as summarised by Medscape 917397 and
Guideline Central 18887. Every result is advice that shows its rule; a physician may deviate. The separate
thresholds for chronic liver disease were not seen and are not applied.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import BleedingClass, CatalogueEntry

SOURCE: Final = "SIR consensus 2019"
INR: Final = codes.INR
PLATELETS: Final = codes.PLATELETS

HIGH_INR_MAX: Final = Decimal(
    "1.8"
)  # "INR <= 1.5-1.8": its upper end, so that no allowed value is advised on
LOW_INR_MAX: Final = Decimal("3.0")  # "to within 2.0-3.0 or less"
HIGH_PLATELETS_MIN: Final = Decimal(50)
LOW_PLATELETS_MIN: Final = Decimal(20)
FEMORAL_INR_BELOW: Final = Decimal("1.8")
RADIAL_INR_BELOW: Final = Decimal("2.2")

ArterialAccess = Literal["femoral", "radial"]
_ACCESS_NOT_STATED: Final = "femoral access (below 2.2 for radial; the access is not stated)"

# Spellings of units of a platelet count, lower case, and what one of them is in 10*9/L.
_PER_NANOLITRE: Final = {
    "10*3/ul": Decimal(1),
    "10*9/l": Decimal(1),
    "k/ul": Decimal(1),
    "10*3/mm3": Decimal(1),
    "/ul": Decimal("0.001"),
    "/mm3": Decimal("0.001"),
    "10*4/ul": Decimal(10),
}


@dataclass(frozen=True, slots=True)
class Advice:
    """What to consider: `text` in one sentence with value, rule and source; `inputs` are LOINC codes it read.

    `threshold` is the limit in the unit of its input (INR none, platelets 10*9/L); None if there is none.
    """

    code: str
    text: str
    inputs: tuple[str, ...]
    threshold: Decimal | None = None
    source: str = SOURCE


@dataclass(frozen=True, slots=True)
class MissingLaboratory:
    """A laboratory value that the gate needs and does not have."""

    loinc: str
    reason: str


@dataclass(frozen=True, slots=True)
class GateResult:
    """`missing` must be sent before the gate can judge, `advice` is to consider, `notes` say what passed."""

    advice: tuple[Advice, ...]
    missing: tuple[MissingLaboratory, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Nothing to consider and nothing missing."""
        return not (self.advice or self.missing)


@dataclass(frozen=True, slots=True)
class Laboratory:
    """What is known: INR, platelets in 10*9/L; `unreadable` are LOINC codes of values in unknown units."""

    inr: Decimal | None
    platelets: Decimal | None
    on_warfarin: bool
    unreadable: Collection[str]

    def lacks(self, loinc: str) -> bool:
        """Whether there is no value to judge."""
        return (self.inr if loinc == INR else self.platelets) is None


def assess_bleeding(
    procedure: CatalogueEntry,
    *,
    inr: Decimal | None,
    platelets: Decimal | None,
    on_warfarin: bool = False,
    arterial_access: ArterialAccess | None = None,
    unreadable: Collection[str] = (),
) -> GateResult:
    """Judge INR and platelets (10*9/L) for a procedure.

    High class: both are needed. Low class: not routinely required, the INR only under warfarin. A class that
    depends on the approach, or that no source gave, holds nothing back: it is judged by the high
    thresholds, and what is not on file is advised on. `unreadable` values (LOINC codes) cannot be judged.
    """
    risk = procedure.bleeding
    known = Laboratory(inr, platelets, on_warfarin, unreadable)
    advice = [*_judge_inr(risk, inr, arterial_access), *_judge_platelets(risk, platelets)]
    missing = tuple(_missing(risk, known))
    asked = {item.loinc for item in missing}
    advice += _cannot_be_judged(set(unreadable) - asked)
    open_class = [loinc for loinc in (INR, PLATELETS) if known.lacks(loinc) and loinc not in unreadable]
    if risk.code in {"conditional", "unclassified"} and open_class:
        advice.append(_class_is_open(risk, open_class))
    return GateResult(tuple(advice), missing, tuple(_notes(risk, known)))


def platelets_per_nanolitre(value: Decimal, unit: str | None) -> Decimal | None:
    """Platelets in 10*9/L (the same as 10*3/uL); None where the unit is not known: no guess is made."""
    spelled = (unit or "").lower().replace(" ", "").replace("^", "*").replace("\u00b5", "u")
    factor = _PER_NANOLITRE.get(spelled.replace("\u03bc", "u").removeprefix("x"))
    return None if factor is None else value * factor


def _judge_inr(risk: BleedingClass, inr: Decimal | None, access: ArterialAccess | None) -> Iterator[Advice]:
    if inr is None:
        return
    if risk.judged_as == "low" and (access is not None or risk.arterial):
        limit = RADIAL_INR_BELOW if access == "radial" else FEMORAL_INR_BELOW
        if inr >= limit:
            by = f"{access} access" if access else _ACCESS_NOT_STATED
            text = f"INR {inr}: arterial puncture, below {limit} for {by} ({SOURCE})"
            yield Advice("arterial-access-inr", text, (INR,), limit)
        return
    limit = HIGH_INR_MAX if risk.judged_as == "high" else LOW_INR_MAX
    if inr > limit:
        text = f"INR {inr}: {_class_name(risk)}: INR <= {limit} ({SOURCE})"
        yield Advice("inr-above-threshold", text, (INR,), limit)


def _judge_platelets(risk: BleedingClass, platelets: Decimal | None) -> Iterator[Advice]:
    limit = HIGH_PLATELETS_MIN if risk.judged_as == "high" else LOW_PLATELETS_MIN
    if platelets is not None and platelets < limit:
        text = f"platelets {platelets} x10^9/L: {_class_name(risk)}: transfuse if below {limit} ({SOURCE})"
        yield Advice("platelets-below-threshold", text, (PLATELETS,), limit)


def _missing(risk: BleedingClass, known: Laboratory) -> Iterator[MissingLaboratory]:
    high = risk.code == "high"
    if known.inr is None and (high or known.on_warfarin):
        why = "required before a procedure of high bleeding risk" if high else "requested under warfarin"
        yield MissingLaboratory(INR, f"INR: {why} ({SOURCE}){_why_again(INR, known)}")
    if known.platelets is None and high:
        why = "required before a procedure of high bleeding risk"
        yield MissingLaboratory(PLATELETS, f"platelets: {why} ({SOURCE}){_why_again(PLATELETS, known)}")


def _why_again(loinc: str, known: Laboratory) -> str:
    unreadable = loinc in known.unreadable
    return "; the one on file has no unit that can be read: send 10*3/uL or 10*9/L" if unreadable else ""


def _cannot_be_judged(unreadable: Collection[str]) -> list[Advice]:
    text = "a value on file cannot be judged: its unit is not known; platelets are read in 10*3/uL or 10*9/L"
    return [Advice("value-cannot-be-judged", text, tuple(sorted(unreadable)))] if unreadable else []


def _class_is_open(risk: BleedingClass, lacking: list[str]) -> Advice:
    names = {INR: "INR", PLATELETS: "platelets"}
    what = " and ".join(names[loinc] for loinc in lacking)
    text = f"bleeding class is open ({risk.condition}); {what} not on file, required if it is high ({SOURCE})"
    return Advice("bleeding-class-open", text, tuple(lacking))


def _notes(risk: BleedingClass, known: Laboratory) -> Iterator[str]:
    if risk.code == "low" and not known.on_warfarin and known.inr is None and known.platelets is None:
        yield f"low bleeding risk: laboratory values not routinely required ({SOURCE})"
    if risk.condition is not None:
        yield risk.condition
    if risk.code == "high":
        yield f"haemoglobin is routine before a procedure of high bleeding risk ({SOURCE})"


def _class_name(risk: BleedingClass) -> str:
    return risk.code if risk.code == risk.judged_as else f"{risk.code}, judged as {risk.judged_as}"

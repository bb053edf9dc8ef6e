"""FHIR data types in words, and their times as moments."""

from datetime import datetime
from typing import Any, Final

from kanwa_shared.clinical import codes
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search.dates import range_of

#: LOINC's own displays are too long for a card; these are kanwa's words for the codes it asks about.
SHORT_NAMES: Final = {
    codes.INR: "INR",
    codes.PLATELETS: "Platelets",
    codes.HAEMOGLOBIN: "Haemoglobin",
    codes.CREATININE: "Creatinine",
    codes.BILIRUBIN: "Bilirubin",
    codes.PAIN_NRS: "Pain, 0-10",
    "98979-8": "eGFR",
    "89243-0": "Karnofsky",
    "89247-1": "ECOG",
}
#: Units as a page shows them.
_UNITS: Final = {"10*3/uL": "×10³/µL", "10*9/L": "×10⁹/L", "mL/min/{1.73_m2}": "mL/min/1.73 m²"}  # noqa: RUF001  # as printed
_UNSAID: Final = frozenset({"score", "INR", "#", "1"})


def concept_words(concept: Tree | None) -> str:
    """A CodeableConcept in words: its text, else a display, else a code; empty if it says nothing."""
    if not concept:
        return ""
    codings = concept.get("coding", [])
    short = [
        SHORT_NAMES[c["code"]]
        for c in codings
        if c.get("system") == codes.LOINC and c.get("code") in SHORT_NAMES
    ]
    displays = [str(c["display"]) for c in codings if c.get("display")]
    plain = [str(c["code"]) for c in codings if c.get("code")]
    said = [*short, *([str(concept["text"])] if concept.get("text") else []), *displays, *plain]
    return said[0] if said else ""


def unit_words(unit: str) -> str:
    """A unit as a page shows it; empty where the number says it all. UCUM's `{words}` are shown without braces."""
    plain = unit[1:-1] if unit.startswith("{") and unit.find("}") == len(unit) - 1 else unit
    return "" if plain in _UNSAID else _UNITS.get(unit, plain)


def quantity_words(quantity: Tree) -> str:
    """A Quantity in words, its decimals as they were written."""
    value = quantity.get("value")
    shown = unit_words(str(quantity.get("unit") or quantity.get("code") or ""))
    number = "" if value is None else getattr(value, "literal", str(value))
    return f"{quantity.get('comparator', '')}{number} {shown}".strip()


def value_words(observation: Tree) -> str:
    """Observation.value[x] in words, or why there is none."""
    for name, value in observation.items():
        if name.startswith("value"):
            return _value_words(name, value)
    absent = observation.get("dataAbsentReason")
    return f"no value: {concept_words(absent)}" if absent else ""


def human_name(names: list[Tree]) -> tuple[str, str]:
    """Family and given names to show: the official or first one that is in use."""
    current = [name for name in names if name.get("use") not in {"old", "maiden", "nickname"}] or names
    best = next((name for name in current if name.get("use") == "official"), current[0] if current else {})
    family, given = str(best.get("family", "")), " ".join(map(str, best.get("given", ())))
    return (family, given) if family or given else (str(best.get("text", "")), "")


def moment(text: object) -> datetime | None:
    """When a date, dateTime or instant begins; without a zone it counts as UTC. None if it is no time."""
    if not isinstance(text, str):
        return None
    try:
        return range_of(text)[0]
    except ValueError:
        return None


def begin(tree: Tree, stem: str) -> datetime | None:
    """When `stem`[x] (`effective`, `performed`) begins."""
    period = tree.get(f"{stem}Period", {})
    return moment(
        tree.get(f"{stem}DateTime") or tree.get(f"{stem}Instant") or period.get("start") or period.get("end")
    )


def _value_words(name: str, value: Any) -> str:
    match name:
        case "valueCodeableConcept":
            return concept_words(value)
        case "valueQuantity":
            return quantity_words(value)
        case "valueBoolean":
            return "yes" if value else "no"
        case _:
            return getattr(value, "literal", str(value)) if not isinstance(value, dict) else ""

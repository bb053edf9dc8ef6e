"""Compile the official R4 SearchParameters into the tables that `kanwa_shared.fhir.search` works from.

    python shared/definitions/generate_search_parameters.py FOLDER

FOLDER holds the R4 4.0.1 definition files as HL7 publishes them (search-parameters.json, profiles-types.json,
profiles-resources.json, valuesets.json). Each FHIRPath expression becomes element paths with the data type at
their end, so that nothing needs FHIRPath at run time. What cannot be compiled is listed on standard error and
left out.
"""

import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from search_expressions import Elements, Leaf, alternatives, compile_path, resources_in
from search_sharing import add_parts, share_rows
from search_summaries import summaries

TARGET = Path(__file__).parents[1] / "src/kanwa_shared/fhir/search"
OFFICIAL = "http://hl7.org/fhir/SearchParameter/"

# DocumentReference-relationship names each component's definition at the other's expression.
SWAPPED = {("relatesto", "code"): "relation", ("relation", "target"): "relatesto"}


def compile_union(elements: Elements, resource_type: str, parts: list[str], kind: str) -> list[Leaf] | None:
    """Leaves of all alternatives, each once; None when one is not understood or nothing is left."""
    leaves: dict[Leaf, None] = {}
    for part in parts:
        compiled = compile_path(elements, resource_type, part, kind)
        if compiled is None:
            return None
        leaves.update(dict.fromkeys(compiled))
    return list(leaves) or None


def compile_parameter(
    elements: Elements, resource_type: str, official: dict[str, Any]
) -> dict[str, Any] | None:
    """The table's entry of one parameter at one resource type."""
    parts = alternatives(official["expression"], resource_type)
    leaves = compile_union(elements, resource_type, parts, official["type"])
    if leaves is None:
        return None
    entry: dict[str, Any] = {"type": official["type"], "url": official["url"].removeprefix(OFFICIAL)}
    if official["type"] == "composite":
        entry["contexts"] = [leaf.path for leaf in leaves]
        if not any(leaf.repeats for leaf in leaves):
            entry["flat"] = True
        entry["components"] = official["component"]
        return entry
    entry["paths"] = [leaf.written() for leaf in leaves]
    if leaves[0].datatype == "Resource":  # inside a Bundle; only those of one type count
        entry["paths"] = [[leaf.path, leaf.datatype, *official["target"]] for leaf in leaves]
    if targets := official.get("target"):
        entry["targets"] = "*" if len(targets) > 100 else sorted(set(targets) & elements.resources)
    if systems := sorted({system for leaf in leaves for system in leaf.systems}):
        entry["systems"] = systems
    if len(leaves) == 1 and leaves[0].required and not leaves[0].target:
        entry["required"] = True
    if official["type"] in {"date", "number", "quantity"} and not any(leaf.repeats for leaf in leaves):
        entry["single"] = True
    return entry


def compile_components(
    elements: Elements, resource_type: str, parameters: dict[str, dict[str, Any]], by_url: dict[str, str]
) -> Iterator[str]:
    """Complete every composite parameter in place; yields the codes of those that cannot be compiled."""
    for code, entry in parameters.items():
        if entry["type"] != "composite":
            continue
        parts = entry["components"]
        components: list[dict[str, Any]] = []
        entry["components"] = components
        for part in parts:
            component = _component(elements, resource_type, entry["contexts"], part, by_url, parameters)
            if component is None:
                yield code
                break
            components.append(component)


def _component(
    elements: Elements,
    resource_type: str,
    contexts: list[str],
    part: dict[str, str],
    by_url: dict[str, str],
    parameters: dict[str, dict[str, Any]],
) -> dict[str, Any] | None:
    code = by_url[part["definition"]]
    code = SWAPPED.get((code, part["expression"]), code)
    if code not in parameters or "%resource" in part["expression"]:
        return None
    kind = parameters[code]["type"]
    paths: dict[str, list[list[str]]] = {}
    for context in contexts:
        base = f"{resource_type}.{context}".removesuffix(".")
        found = [
            compile_path(elements, resource_type, f"{base}.{alternative.strip()}", kind)
            for alternative in part["expression"].split("|")
        ]
        if any(leaves is None for leaves in found):
            return None
        paths[context] = [
            [leaf.path[len(context) :].removeprefix("."), *leaf.written()[1:]]
            for leaves in found
            for leaf in leaves or []
        ]
    return {"param": code, "type": kind, "paths": paths[contexts[0]]}


def generate(elements: Elements, folder: Path) -> dict[str, dict[str, Any]]:
    """Parameters by resource type and code."""
    officials = [
        official
        for official in resources_in(folder / "search-parameters.json", "SearchParameter")
        if official["url"].startswith(OFFICIAL)
    ]
    by_url = {official["url"]: official["code"] for official in officials}
    known = sorted(name for name in elements.resources if modelled(name))
    table: dict[str, dict[str, Any]] = {"Resource": {}}
    for official in officials:
        if official["base"] == ["Resource"] and "expression" in official and official["code"] != "_id":
            table["Resource"][official["code"]] = compile_parameter(elements, "Resource", official)
    for resource_type in known:
        table[resource_type] = _of_type(elements, resource_type, officials, by_url)
    return table


def modelled(resource_type: str) -> bool:
    """Whether fhir.resources models the type: what R4B dropped cannot be validated, so is not served."""
    return find_spec(f"fhir.resources.R4B.{resource_type.lower()}") is not None


def _of_type(
    elements: Elements, resource_type: str, officials: list[dict[str, Any]], by_url: dict[str, str]
) -> dict[str, Any]:
    parameters: dict[str, dict[str, Any]] = {}
    for official in officials:
        if resource_type not in official["base"]:
            continue
        entry = (
            None if official["type"] == "special" else compile_parameter(elements, resource_type, official)
        )
        if entry is None:
            left_out(resource_type, official["code"])
        else:
            parameters[official["code"]] = entry
    for code in list(compile_components(elements, resource_type, parameters, by_url)):
        left_out(resource_type, code)
        del parameters[code]
    share_rows(parameters)
    add_parts(parameters)
    return dict(sorted(parameters.items()))


def left_out(resource_type: str, code: str) -> None:
    """Report a parameter that is not compiled."""
    sys.stderr.write(f"left out: {resource_type}.{code}\n")


def write(table: dict[str, dict[str, Any]], target: Path) -> None:
    """One parameter a line, so that a change of the definitions reads well in a diff."""
    types: list[str] = []
    for resource_type, parameters in table.items():
        lines = [
            f"  {json.dumps(code)}: {json.dumps(entry, separators=(',', ':'))}"
            for code, entry in parameters.items()
        ]
        inner = ",\n".join(lines)
        types.append(
            f" {json.dumps(resource_type)}: {{\n{inner}\n }}"
            if lines
            else f" {json.dumps(resource_type)}: {{}}"
        )
    target.write_text("{\n" + ",\n".join(types) + "\n}\n", encoding="utf-8")


def main(folder: Path) -> None:
    """Read the definitions in `folder` and write both tables."""
    elements = Elements(folder)
    table = generate(elements, folder)
    write(table, TARGET / "search_parameters.json")
    write(
        summaries(elements, [name for name in table if name != "Resource"]), TARGET / "summary_elements.json"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Parameters whose values other parameters have already: their index rows are written once."""

from typing import Any


def share_rows(parameters: dict[str, dict[str, Any]]) -> None:
    """Let a parameter that only repeats others' values borrow their rows, so that a value is written once.

    `of`: the same paths as another parameter, or (with `as`) its references to one type.
    `union`: the values of several other parameters, and `paths` holds what is left.
    """
    for code, entry in parameters.items():
        _borrow(code, entry, parameters)
    for entry in parameters.values():
        _unite(entry, parameters)
        _unite_contexts(entry, parameters)


def _borrow(code: str, entry: dict[str, Any], parameters: dict[str, dict[str, Any]]) -> None:
    paths = entry.get("paths")
    for other_code, other in parameters.items():
        if paths is None or "of" in other or other_code == code or other["type"] != entry["type"]:
            continue
        if other.get("paths") == paths and other_code < code and entry["type"] != "token":
            entry["of"] = other_code
            return
        targets = {path[2] if len(path) > 2 else "" for path in paths}
        if len(targets) == 1 and "" not in targets and other.get("paths") == [path[:2] for path in paths]:
            entry["of"], entry["as"] = other_code, targets.pop()
            return


def _unite_contexts(entry: dict[str, Any], parameters: dict[str, dict[str, Any]]) -> None:
    contexts = entry.get("contexts", [])
    if len(contexts) < 2:
        return
    parts = [part["paths"] for part in entry["components"]]
    entry["union"] = [
        code
        for code, other in parameters.items()
        for context in contexts
        if other.get("contexts") == [context] and [part["paths"] for part in other["components"]] == parts
    ]
    if len(entry["union"]) != len(contexts):
        raise ValueError(f"no composite parameters for each of the contexts {contexts}")


# Parts of a name or an address that have a parameter of their own.
PARTS = {
    "name": ("family", "given"),
    "address": ("address-city", "address-country", "address-postalcode", "address-state"),
}


def _unite(entry: dict[str, Any], parameters: dict[str, dict[str, Any]]) -> None:
    paths = entry.get("paths")
    if paths is None or "of" in entry or len(paths) < 2:
        return
    parts = [
        code
        for code, other in parameters.items()
        if other is not entry
        and other["type"] == entry["type"]
        and "of" not in other
        and all(path in paths for path in other.get("paths", [[]]))
        and len(other["paths"]) < len(paths)
    ]
    covered = sorted(path for code in parts for path in parameters[code]["paths"])
    if parts and covered == sorted(paths):
        entry["union"] = parts


def add_parts(parameters: dict[str, dict[str, Any]]) -> None:
    """Let `name` and `address` borrow the rows of the parts that are parameters themselves."""
    for code, parts in PARTS.items():
        entry = parameters.get(code, {})
        if [path[1] for path in entry.get("paths", [])] not in (["HumanName"], ["Address"]):
            continue
        path = entry["paths"][0][0]
        held = [
            part
            for part in parts
            if parameters.get(part, {}).get("paths", [[""]])[0][0].rpartition(".")[0] == path
        ]
        if len(held) == len(parts):
            entry["union"] = held
            for other in parameters.values():
                if other.get("of") == code:
                    other["union"] = held

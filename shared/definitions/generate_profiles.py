"""Write the snapshot of each of kanwa's profiles from its differential and HL7's R4 definitions, in place.

    python shared/definitions/generate_profiles.py FOLDER

FOLDER is the unpacked folder `package` of hl7.fhir.r4.core 4.0.1, as for generate_r4.py. A differential is edited by
hand in src/kanwa_shared/profiles/definitions; afterwards this makes the snapshot that other programs read.
"""

import json
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "src/kanwa_shared/profiles/definitions"
# What a validator needs not: explanations are in HL7's own definition, which the profile names as its base.
LEFT_OUT = {
    "comment",
    "requirements",
    "alias",
    "mapping",
    "example",
    "extension",
    "isModifierReason",
    "orderMeaning",
}

Element = dict[str, Any]


def main(folder: Path) -> None:
    """Renew the snapshot of every profile."""
    for path in sorted(TARGET.glob("*.json")):
        profile = json.loads(path.read_text(encoding="utf-8"))
        base = json.loads(
            (folder / f"StructureDefinition-{profile['type']}.json").read_text(encoding="utf-8")
        )
        profile.pop("snapshot", None)
        elements = snapshot(base["snapshot"]["element"], profile["differential"]["element"])
        path.write_text(written(profile, elements), encoding="utf-8")


def written(profile: dict[str, Any], elements: list[Element]) -> str:
    """The profile as it is edited, then its snapshot with a line for each element."""
    edited = json.dumps(profile, indent=1, ensure_ascii=False).removesuffix("\n}")
    lines = ",\n".join(json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in elements)
    return f'{edited},\n "snapshot": {{"element": [\n{lines}\n ]}}\n}}\n'


def snapshot(base: list[Element], differential: list[Element]) -> list[Element]:
    """The base's elements as the differential has them, with a copy of its element for each slice."""
    elements = [kept(element) for element in base]
    for change in differential:
        if "sliceName" in change:
            add_slice(elements, change["path"], change["id"])
        element = next((each for each in elements if each["id"] == change["id"]), None)
        if element is None:
            raise SystemExit(f"{change['id']} is not in the base; profiles do not reach into data types here")
        merge(element, change)
    return elements


def kept(element: Element) -> Element:
    """An element of the base without its explanations; constraints without their XPath."""
    found = {name: value for name, value in element.items() if name not in LEFT_OUT}
    if element.get("isModifier"):
        found["isModifierReason"] = element["isModifierReason"]
    if "constraint" in found:
        found["constraint"] = [
            {name: value for name, value in each.items() if name != "xpath"} for each in found["constraint"]
        ]
    return found


def add_slice(elements: list[Element], path: str, id: str) -> None:
    """Put a copy of the element and its children after those, and after earlier slices of it."""
    copied = [
        json.loads(json.dumps(each)) | {"id": id + each["id"].removeprefix(path)}
        for each in elements
        if each["id"] == path or each["id"].startswith(f"{path}.")
    ]
    copied[0].pop("slicing", None)
    last = max(
        n for n, each in enumerate(elements) if each["path"] == path or each["path"].startswith(f"{path}.")
    )
    elements[last + 1 : last + 1] = copied


def merge(element: Element, change: Element) -> None:
    """Let the change decide; its constraints come to those that are there."""
    constraints = element.get("constraint", []) + change.get("constraint", [])
    element.update(change)
    if constraints:
        element["constraint"] = constraints


if __name__ == "__main__":
    main(Path(sys.argv[1]))

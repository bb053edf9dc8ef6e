"""HL7's own test suites that a folder may hold: FHIRPath Patch, and resources whose decimals must survive."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

import httpx

from kanwa.conformance.judging import JSON, content, named_element
from kanwa.conformance.xml_resources import read_document, resource_of
from kanwa_shared.fhir.json_text import dumps
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation import validate

PATCHES: Final = "FHIRPath Patch"
DECIMALS: Final = "decimals of XML examples"
PATCH_FILE: Final = "hl7-test-cases/XML/fhir-patch-tests.xml"
_XML_FOLDER: Final = "hl7-test-cases/XML"


@dataclass(frozen=True, slots=True)
class SuiteCase:
    """One case of a suite: `fault` is what went wrong, `note` why a case cannot end as the suite has it."""

    suite: str
    name: str
    fault: str | None = None
    note: str | None = None


async def run_suites(client: httpx.AsyncClient, folder: Path) -> list[SuiteCase]:
    """Every case of the suites that are in the folder, over HTTP."""
    patches, examples = _read(folder)
    ran = [await _patch_case(client, case) for case in patches]
    return ran + [await _decimal_case(client, name, resource) for name, resource in examples]


def _read(folder: Path) -> tuple[list[Element], list[tuple[str, Tree]]]:
    """The cases of the patch suite, and the XML examples by name."""
    patches = folder / PATCH_FILE
    examples = [
        (file.name, resource_of(read_document(file.read_bytes())))
        for file in sorted((folder / _XML_FOLDER).glob("*.xml"))
        if not file.name.endswith("-tests.xml")
    ]
    return list(read_document(patches.read_bytes())) if patches.is_file() else [], examples


async def _patch_case(client: httpx.AsyncClient, case: Element) -> SuiteCase:
    """The input is created, the patch sent, and the answer compared with the output."""
    name = case.get("name", "")
    before, change = _resource(case, "input"), _resource(case, "diff")
    expected = None if case.find("error") is not None else _resource(case, "output")
    created = await client.post(str(before["resourceType"]), content=dumps(before), headers=JSON)
    if not created.is_success:
        return SuiteCase(PATCHES, name, f"its input is refused: {named_element(created)}")
    place = created.headers["location"].rsplit("/_history/", 1)[0]
    headers = {"content-type": JSON["content-type"]}
    answer = await client.patch(place, content=dumps(change), headers=headers)
    if expected is None:
        refused = 400 <= answer.status_code < 500 and named_element(answer)
        return SuiteCase(
            PATCHES, name, None if refused else f"answered {answer.status_code}, and must be refused"
        )
    broken = validate(expected)
    if broken:
        refused = answer.status_code == 400 and named_element(answer)
        note = f"its output is not R4, so it is refused: {broken[0].diagnostics}"
        return SuiteCase(PATCHES, name, None if refused else f"answered {answer.status_code}", note)
    if not answer.is_success:
        return SuiteCase(PATCHES, name, f"refused with {answer.status_code}: {named_element(answer)}")
    same = content(answer.content) == content(dumps(expected))
    return SuiteCase(PATCHES, name, None if same else "another result")


async def _decimal_case(client: httpx.AsyncClient, name: str, resource: Tree) -> SuiteCase:
    """The resource that the XML says is created as JSON and read back."""
    sent = dumps(resource)
    created = await client.post(str(resource["resourceType"]), content=sent, headers=JSON)
    if not created.is_success:
        return SuiteCase(DECIMALS, name, f"refused: {named_element(created)}")
    stored = await client.get(created.headers["location"].rsplit("/_history/", 1)[0])
    same = stored.is_success and content(stored.content) == content(sent)
    return SuiteCase(DECIMALS, name, None if same else "came back changed")


def _resource(case: Element, name: str) -> Tree:
    found = case.find(name)
    return resource_of(found[0]) if found is not None and len(found) else {"resourceType": "Parameters"}


def suites_section(cases: Iterable[SuiteCase]) -> str:
    """The part of the page about the suites; empty if there were none. Markdown."""
    ran = list(cases)
    if not ran:
        return ""
    lines = ["\n## Suites\n", "| suite | cases | passed |\n|---|---|---|\n"]
    for suite in dict.fromkeys(case.suite for case in ran):
        of_it = [case for case in ran if case.suite == suite]
        lines.append(f"| {suite} | {len(of_it)} | {sum(1 for case in of_it if case.fault is None)} |\n")
    lines += [
        f"- {case.suite}, {case.name}: {case.fault or case.note}\n" for case in ran if case.fault or case.note
    ]
    return "".join(lines)

"""Required bindings: codes that R4 allows in no other form (https://hl7.org/fhir/R4/terminologies.html#required)."""

from typing import Any, Final, cast

from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.validation.definitions import Codes, Member

_SHOWN_CODES: Final = 20
_SHOWN_CHARACTERS: Final = 40


def refusal(member: Member, found: str) -> str:
    """Say that a code is outside the binding of `member`, and which codes it has."""
    allowed = sorted(member.flat_codes or ())
    listed = ", ".join(allowed[:_SHOWN_CODES]) + (", …" if len(allowed) > _SHOWN_CODES else "")
    return f"'{found[:_SHOWN_CHARACTERS]}' is not among the codes that R4 requires here: {listed}."


def refused(member: Member, value: Tree) -> str | None:
    """Say what is wrong with a Coding, CodeableConcept or Quantity of a required binding; None if nothing is.

    Of a CodeableConcept one coding must be in the value set; one that only has extensions (such as
    data-absent-reason) states that there is no code.
    """
    codes = cast("Codes", member.codes)
    if member.type_name != "CodeableConcept":
        return None if "code" not in value or _within(value, codes) else refusal(member, str(value["code"]))
    codings = cast("list[Any]", value.get("coding", []))
    if any(isinstance(coding, dict) and _within(cast("Tree", coding), codes) for coding in codings):
        return None
    if not codings:
        return None if "text" not in value else f"needs a coding; {refusal(member, 'text alone')}"
    return refusal(member, ", ".join(str(coding.get("code", "no code")) for coding in codings))


def _within(coding: Tree, codes: Codes) -> bool:
    system = coding.get("system")
    return coding.get("code") in codes.get(system, ()) if isinstance(system, str) else False

"""The texts that stand in `resource.tokens`: one GIN probe answers for type, parameter and value together.

ServiceRequest.code=tips              the code, whatever its system
ServiceRequest.code|http://x|tips     system and code
ServiceRequest.code|http://x|         any code of the system
ServiceRequest.code||tips             a code that has no system
ServiceRequest.subject=Patient/1      a reference
ServiceRequest.subject:identifier=…   the identifier inside a reference, in the forms of a token
ServiceRequest.code:present           the parameter has a value
"""

from collections.abc import Callable, Sequence
from typing import Any


def any_system(code: str) -> str:
    """Form of a code whatever its system; also of references, uris and primitive values."""
    return f"={code}"


def coded(system: str, code: str) -> str:
    """Form of a code in a system; `code` "" for any code of it, `system` "" for a code without one."""
    return f"|{system}|{code}"


def token(resource_type: str, param: str, form: str) -> str:
    """The whole text, from one of the forms above."""
    return f"{resource_type}.{param}{form}"


def present(resource_type: str, param: str) -> str:
    """The text that stands for "has any value"."""
    return f"{resource_type}.{param}:present"


Forms = Callable[[Any], Sequence[str]]
"""From a JSON value of one data type to the forms under which it is found."""


def _pair(system: str | None, code: str | None) -> Sequence[str]:
    if system:
        return (f"|{system}|", f"={code}", f"|{system}|{code}") if code else (f"|{system}|",)
    return (f"={code}", f"||{code}") if code else ()


def _coding(value: Any) -> Sequence[str]:
    return _pair(value.get("system"), value.get("code"))


def _codeable_concept(value: Any) -> Sequence[str]:
    codings = value.get("coding", ())
    if len(codings) == 1:
        return _coding(codings[0])
    return [form for coding in codings for form in _coding(coding)]


def _identifier(value: Any) -> Sequence[str]:
    return _pair(value.get("system"), value.get("value"))


def _contact_point(value: Any) -> Sequence[str]:
    return _pair(value.get("system"), contact_value(value.get("value", "")))


def contact_value(text: str) -> str:
    """An e-mail address or a telephone number as it is compared: nobody minds its case. Codes and identifiers are
    compared as they are written (R4 datatypes: an identifier's value is case sensitive unless its system is known
    not to be).
    """
    return text.lower()


def _boolean(value: Any) -> Sequence[str]:
    return ("=true" if value is True else "=false",)


def _primitive(value: Any) -> Sequence[str]:
    return (f"={value}",)


def _deceased(value: Any) -> Sequence[str]:
    return ("=true" if value.get("deceasedBoolean") is True or "deceasedDateTime" in value else "=false",)


_FORMS: dict[str, Forms] = {
    "Coding": _coding,
    "CodeableConcept": _codeable_concept,
    "Identifier": _identifier,
    "ContactPoint": _contact_point,
    "boolean": _boolean,
    "Patient.deceased": _deceased,
}


def forms_of(datatype: str) -> Forms:
    """The forms of a data type's values; primitives other than boolean have only their text."""
    return _FORMS.get(datatype, _primitive)

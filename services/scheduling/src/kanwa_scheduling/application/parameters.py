"""The Parameters of `$find`, `$hold` and `$book`; the names are IHE ITI Scheduling's and Argonaut's."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from kanwa_scheduling.domain.references import reference_id
from kanwa_shared.errors import Invalid, Issue, NotSupported
from kanwa_shared.fhir.json_types import Tree
from kanwa_shared.fhir.search.dates import range_of

FIND_PARAMETERS: Final = frozenset(
    {
        "based-on",
        "referral-identifier",
        "start",
        "end",
        "visit-type",
        "practitioner",
        "organization",
        "location-reference",
        "patient-reference",
        "_count",
    }
)
BOOKING_PARAMETERS: Final = frozenset(
    {"appt-resource", "appt-reference", "appointment-resource", "appointment-reference", "comment"}
)


@dataclass(frozen=True, slots=True)
class FindQuery:
    """What `$find` is asked: a referral by id or identifier (system, value), a period, and who or where."""

    service_request_id: str | None
    identifier: tuple[str, str] | None
    start: datetime | None
    end: datetime | None
    procedure: str | None
    practitioners: frozenset[str]
    organizations: frozenset[str]
    locations: frozenset[str]
    patient_id: str | None
    count: int | None


@dataclass(frozen=True, slots=True)
class BookingQuery:
    """What `$hold` and `$book` are asked: an Appointment, or the id of one that is stored here.

    `answer` is `bundle` where the client used IHE's parameter names, which come with a Bundle as the answer.
    """

    appointment: Tree | None
    appointment_id: str | None
    comment: str | None
    answer: Literal["appointment", "bundle"]


def find_query(parameters: Tree) -> FindQuery:
    """The query of `$find`. Raises Invalid for what is missing or wrong, NotSupported for unknown names."""
    given = _given(parameters, FIND_PARAMETERS)
    issues: list[Issue] = []
    query = FindQuery(
        service_request_id=_one(_references(given, "based-on", "ServiceRequest", issues)),
        identifier=_identifier(given),
        start=_moment(given, "start", issues),
        end=_moment(given, "end", issues),
        procedure=_visit_type(given),
        practitioners=frozenset(
            f"{kind}/{id}"
            for kind in ("Practitioner", "PractitionerRole")
            for id in _references(given, "practitioner", kind, [])
        ),
        organizations=_prefixed(given, "organization", "Organization", issues),
        locations=_prefixed(given, "location-reference", "Location", issues),
        patient_id=_one(_references(given, "patient-reference", "Patient", issues)),
        count=_count(given, issues),
    )
    if query.service_request_id is None and query.identifier is None and not issues:
        issues.append(
            Issue(
                "required",
                "which referral? give based-on (valueReference to a ServiceRequest) or referral-identifier",
                ("Parameters.parameter",),
            )
        )
    if query.start and query.end and query.end <= query.start:
        issues.append(Issue("invalid", "end must be after start", ("Parameters.parameter",)))
    if issues:
        raise Invalid(issues)
    return query


def booking_query(parameters: Tree) -> BookingQuery:
    """The query of `$hold` or `$book`. Raises Invalid unless exactly one Appointment is named."""
    given = _given(parameters, BOOKING_PARAMETERS)
    resources: list[Tree] = [
        parameter.get("resource", {})
        for name in ("appt-resource", "appointment-resource")
        for parameter in given.get(name, ())
    ]
    references = [
        id
        for name in ("appt-reference", "appointment-reference")
        for id in _references(given, name, "Appointment", [])
    ]
    appointment = resources[0] if resources else None
    if len(resources) + len(references) != 1 or (
        appointment is not None and appointment.get("resourceType") != "Appointment"
    ):
        raise Invalid(
            "give exactly one Appointment: appt-resource (resource) as $find offered it, or appt-reference "
            "(valueReference) to one that is held here",
            expression="Parameters.parameter",
            code="required",
        )
    by_ihe_names = any(name.startswith("appointment-") for name in given)
    return BookingQuery(
        appointment=appointment,
        appointment_id=references[0] if references else _id_of(appointment),
        comment=next((p["valueString"] for p in given.get("comment", ()) if "valueString" in p), None),
        answer="bundle" if by_ihe_names else "appointment",
    )


def _given(parameters: Tree, known: frozenset[str]) -> dict[str, list[Tree]]:
    if parameters.get("resourceType") != "Parameters":
        raise Invalid("the body of this operation is a Parameters resource", expression="resourceType")
    given: dict[str, list[Tree]] = {}
    for parameter in parameters.get("parameter", ()):
        given.setdefault(parameter.get("name", ""), []).append(parameter)
    unknown = sorted(set(given) - known)
    if unknown:
        raise NotSupported(
            f"unknown parameter {', '.join(unknown)}; this operation takes {', '.join(sorted(known))}",
            expression="Parameters.parameter.name",
        )
    return given


def _references(
    given: dict[str, list[Tree]], name: str, resource_type: str, issues: list[Issue]
) -> list[str]:
    found: list[str] = []
    for parameter in given.get(name, ()):
        # The search syntax of GET has strings only.
        text = parameter.get("valueReference", {}).get("reference") or parameter.get("valueString")
        id = reference_id(text, resource_type)
        if id is None:
            issues.append(_expected(name, f"a valueReference to a {resource_type}"))
        else:
            found.append(id)
    return found


def _prefixed(
    given: dict[str, list[Tree]], name: str, resource_type: str, issues: list[Issue]
) -> frozenset[str]:
    return frozenset(f"{resource_type}/{id}" for id in _references(given, name, resource_type, issues))


def _moment(given: dict[str, list[Tree]], name: str, issues: list[Issue]) -> datetime | None:
    """`start` is the first moment of a date, `end` the end of it."""
    for parameter in given.get(name, ()):
        text = _first(parameter, ("valueDateTime", "valueInstant", "valueDate", "valueString"))
        try:
            low, high = range_of(text)
        except (ValueError, TypeError):
            issues.append(_expected(name, "a valueDateTime"))
            return None
        return high if name == "end" and "T" not in text else low
    return None


def _identifier(given: dict[str, list[Tree]]) -> tuple[str, str] | None:
    for parameter in given.get("referral-identifier", ()):
        identifier = parameter.get("valueIdentifier", {})
        if "value" in identifier:
            return identifier.get("system", ""), identifier["value"]
    return None


def _visit_type(given: dict[str, list[Tree]]) -> str | None:
    """The code of a token `system|code`, or of a Coding or CodeableConcept."""
    for parameter in given.get("visit-type", ()):
        text = _first(parameter, ("valueString", "valueCode", "valueUri"))
        if isinstance(text, str):
            return text.rpartition("|")[2]
        codings: list[Tree] = parameter.get("valueCodeableConcept", {}).get("coding", [])
        for coding in [parameter.get("valueCoding", {}), *codings]:
            if "code" in coding:
                return coding["code"]
    return None


def _count(given: dict[str, list[Tree]], issues: list[Issue]) -> int | None:
    for parameter in given.get("_count", ()):
        number = _first(parameter, ("valueInteger", "valuePositiveInt", "valueUnsignedInt", "valueString"))
        if str(number).isdecimal():
            return int(number)
        issues.append(_expected("_count", "a valueInteger of 0 or more"))
    return None


def _expected(name: str, what: str) -> Issue:
    return Issue("invalid", f"parameter {name} must be {what}", ("Parameters.parameter",))


def _first(parameter: Tree, names: Iterable[str]) -> Any:
    return next((parameter[name] for name in names if name in parameter), None)


def _id_of(appointment: Tree | None) -> str | None:
    return appointment.get("id") if appointment is not None else None


def _one(ids: list[str]) -> str | None:
    return ids[0] if ids else None

"""OperationOutcome: how a refusal or a warning is written, and which HTTP status it has."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from kanwa_shared.errors import (
    BusinessRule,
    Conflict,
    DomainError,
    Forbidden,
    Gone,
    Invalid,
    Issue,
    NotFound,
    NotSupported,
    PreconditionFailed,
    Unauthenticated,
    Unavailable,
    Unparsable,
    VersionConflict,
)
from kanwa_shared.fhir.http import NotAcceptable, UnsupportedMediaType

STATUS_BY_ERROR: Final[dict[type[DomainError], int]] = {
    # https://hl7.org/fhir/R4/http.html: 400 cannot be parsed or breaks base R4, 422 breaks a profile or rule
    Unparsable: 400,
    Invalid: 400,
    NotSupported: 400,
    NotAcceptable: 406,
    UnsupportedMediaType: 415,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    VersionConflict: 409,
    Gone: 410,
    PreconditionFailed: 412,
    BusinessRule: 422,
    Unavailable: 503,
}


def status_of(error: DomainError) -> int:
    """HTTP status for `error`, by its class or nearest base class; 422 for a class not listed."""
    return next((STATUS_BY_ERROR[base] for base in type(error).__mro__ if base in STATUS_BY_ERROR), 422)


def outcome_tree(issues: Iterable[Issue]) -> dict[str, Any]:
    """An OperationOutcome as a JSON tree; one issue per fault."""
    return {"resourceType": "OperationOutcome", "issue": [_issue(issue) for issue in issues]}


def outcome_bytes(issues: Iterable[Issue]) -> bytes:
    """An OperationOutcome as JSON text."""
    return msgspec.json.encode(outcome_tree(issues))


def _issue(issue: Issue) -> dict[str, Any]:
    written: dict[str, Any] = {
        "severity": issue.severity,
        "code": issue.code,
        "diagnostics": issue.diagnostics,
    }
    if issue.expression:
        written["expression"] = list(issue.expression)
    return written

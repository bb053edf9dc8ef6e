"""What can go wrong in a rule or a use case, in words a client can act on. HTTP is unknown here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["fatal", "error", "warning", "information"]


@dataclass(frozen=True, slots=True)
class Issue:
    """One entry of an OperationOutcome.

    `code` is an R4 issue-type code; `expression` holds FHIRPaths such as `ServiceRequest.code`.
    """

    code: str
    diagnostics: str
    expression: tuple[str, ...] = ()
    severity: Severity = "error"


class DomainError(Exception):
    """A request that kanwa understands and refuses; carries the issues that say why and what to do."""

    default_code = "processing"

    def __init__(
        self, diagnostics: str | Sequence[Issue], *, expression: str | None = None, code: str | None = None
    ):
        if isinstance(diagnostics, str):
            issue = Issue(code or self.default_code, diagnostics, (expression,) if expression else ())
            self.issues: tuple[Issue, ...] = (issue,)
        else:
            self.issues = tuple(diagnostics)
        super().__init__("; ".join(issue.diagnostics for issue in self.issues))


class Unparsable(DomainError):
    """The body is not one well-formed FHIR JSON document."""

    default_code = "structure"


class Invalid(DomainError):
    """The resource breaks R4: structure, binding, invariant or reference type."""

    default_code = "invalid"


class BusinessRule(DomainError):
    """The resource is valid R4, and a rule of the referral loop or a profile refuses it."""

    default_code = "business-rule"


class NotFound(DomainError):
    """No such resource, version or type."""

    default_code = "not-found"


class Gone(DomainError):
    """The resource was deleted."""

    default_code = "deleted"


class Conflict(DomainError):
    """The state of the store forbids it: a time already taken, an identifier already used."""

    default_code = "conflict"


class VersionConflict(DomainError):
    """Somebody else wrote the resource since it was read."""

    default_code = "conflict"


class PreconditionFailed(DomainError):
    """If-Match does not name the current version, or a condition matched several resources."""

    default_code = "conflict"


class NotSupported(DomainError):
    """A parameter, modifier or interaction that this server does not offer."""

    default_code = "not-supported"


class Unauthenticated(DomainError):
    """No caller, or one whose token is not valid."""

    default_code = "login"


class Forbidden(DomainError):
    """The caller is known and may not do this."""

    default_code = "forbidden"


class Unavailable(DomainError):
    """Something that kanwa needs does not answer now; nothing was written, the client may try again."""

    default_code = "transient"

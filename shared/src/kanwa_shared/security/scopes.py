"""SMART App Launch 2.2 scopes such as `system/ServiceRequest.rs`, and what they allow.

See https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html. Only `system/` scopes count here:
kanwa serves programs and knows no user's or patient's launch. A scope with a query
(`system/Observation.rs?category=…`) grants nothing: a part of a type cannot be kept apart yet, and granting
all of it would be too much.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Permission = Literal["c", "r", "u", "d", "s"]

ANY_TYPE: Final = "*"

_SCOPE: Final = re.compile(
    r"system/(?P<type>\*|[A-Z][A-Za-z]{1,63})\.(?:(?P<v2>c?r?u?d?s?)|(?P<v1>read|write|\*))", re.ASCII
)
_V1: Final = {"read": frozenset("rs"), "write": frozenset("cud"), "*": frozenset("cruds")}


@dataclass(frozen=True, slots=True)
class Scope:
    """Permissions (`c`, `r`, `u`, `d`, `s`) on one resource type, or on every type (`*`)."""

    resource_type: str
    permissions: frozenset[str]


def parse_scope(text: str) -> Scope | None:
    """The scope that `text` writes in the form of SMART 2 or 1, None if it grants nothing here."""
    found = _SCOPE.fullmatch(text)
    if found is None:
        return None
    permissions = _V1[found["v1"]] if found["v1"] else frozenset(found["v2"] or "")
    return Scope(found["type"], permissions) if permissions else None


def parse_scopes(text: str) -> frozenset[Scope]:
    """The scopes of a token's space-separated `scope` claim; what grants nothing here is left out."""
    return frozenset(scope for scope in map(parse_scope, text.split()) if scope is not None)


def allows(scopes: Iterable[Scope], resource_type: str, permission: Permission) -> bool:
    """Whether `scopes` grant `permission` on `resource_type`; `*` asks for it on every type."""
    return any(
        permission in scope.permissions and scope.resource_type in (resource_type, ANY_TYPE)
        for scope in scopes
    )


#: What the embedded run grants to whoever reaches it on loopback.
EVERYTHING: Final = frozenset({Scope(ANY_TYPE, frozenset("cruds"))})

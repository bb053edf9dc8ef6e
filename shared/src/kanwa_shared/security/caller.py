"""The program that sends a request."""

from dataclasses import dataclass
from typing import Final

from kanwa_shared.errors import Forbidden
from kanwa_shared.security.scopes import EVERYTHING, Permission, Scope, allows


@dataclass(frozen=True, slots=True)
class Caller:
    """A client that proved who it is: its id, what it may do, and its token's `jti` if it has one."""

    client_id: str
    scopes: frozenset[Scope]
    token_id: str | None = None

    def may(self, resource_type: str, permission: Permission) -> bool:
        """Whether the client holds `permission` (c, r, u, d, s) on the type; `*` means on every type."""
        return allows(self.scopes, resource_type, permission)

    def check(self, resource_type: str, permission: Permission) -> None:
        """Raise Forbidden, naming the scope that is missing, unless the client may."""
        if not self.may(resource_type, permission):
            raise InsufficientScope(f"system/{resource_type}.{permission}")


class InsufficientScope(Forbidden):
    """The caller's token lacks a scope; `scope` is the one to ask the authorization server for."""

    def __init__(self, scope: str):
        super().__init__(f"the token does not have the scope {scope}; ask the authorization server for it")
        self.scope = scope


#: Everybody, where authentication is off; that is possible on loopback alone.
ANONYMOUS: Final = Caller("anonymous", EVERYTHING)

#: A worker of another service that fetches events again.
WORKER: Final = Caller("kanwa-worker", frozenset({Scope("*", frozenset("rs"))}))

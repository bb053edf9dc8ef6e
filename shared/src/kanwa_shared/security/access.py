"""What a request needs, read from its method and path before anything else looks at it. Pure.

A path that is not known here needs a caller: what somebody adds later is closed until it is opened.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from kanwa_shared.fhir.validation import is_resource_type
from kanwa_shared.security.caller import Caller, InsufficientScope
from kanwa_shared.security.scopes import ANY_TYPE, Permission

Need = tuple[str, Permission]

#: Answered to everybody: liveness, and how to find out what to send to be let in.
OPEN_PATHS: Final = frozenset(
    {
        "/health",
        "/ready",
        "/fhir/metadata",
        "/fhir/openapi.json",
        "/peers/capability",
        "/fhir/.well-known/smart-configuration",
        "/.well-known/smart-configuration",
        "/cds-services",
        "/favicon.ico",
        "/asyncapi",
        "/asyncapi.json",
    }
)
#: The page where a person gives a token, and what it looks like.
LOGIN_PATH: Final = "/login"
LOGOUT_PATH: Final = "/logout"
STATIC_PREFIX: Final = "/static/"
METRICS_PATH: Final = "/metrics"
#: A source's own log of events; of the board, its stream.
EVENTS_PATH: Final = "/events"
#: What the services ask each other in a caller's name: about many types, so what answers asks the caller about each.
#: It is not below /fhir, so no gateway leads there; /peers/capability says no more than /fhir/metadata.
PEERS_PREFIX: Final = "/peers/"

#: Paths below /fhir that are about many types: any caller may ask, and is asked about each type by what answers.
_ASKED_BY_TYPE: Final = frozenset({"$export"})

_READING: Final = frozenset({"GET", "HEAD"})
_BY_METHOD_ON_INSTANCE: Final[dict[str, Permission]] = {
    "GET": "r",
    "HEAD": "r",
    "PUT": "u",
    "PATCH": "u",
    "DELETE": "d",
}
#: The board and the event stream show cases whole, so part of the types is not enough.
_WHOLE_CASES: Final[tuple[Need, ...]] = ((ANY_TYPE, "r"), (ANY_TYPE, "s"))


@dataclass(frozen=True, slots=True)
class Access:
    """`open` to everybody, or to a caller who has every one of `needs`."""

    open: bool = False
    needs: tuple[Need, ...] = ()


EVERYBODY: Final = Access(open=True)
ANY_CALLER: Final = Access()


def required_access(
    method: str, path: str, *, conditional: bool = False, reading_operations: AbstractSet[str] = frozenset()
) -> Access:
    """What a request needs.

    `conditional` says that it carries If-None-Exist, which searches. `reading_operations` are the FHIR
    operations (`$find`) that change nothing though they are posted. The entries of a Bundle are asked about
    one by one, with `check_entry`.
    """
    if method in _READING and (path in OPEN_PATHS or path.startswith(STATIC_PREFIX)):
        return EVERYBODY
    if path in (LOGIN_PATH, LOGOUT_PATH):
        return EVERYBODY
    if method == "OPTIONS":
        return ANY_CALLER  # it tells which methods a path has, and nothing that is stored
    if path == "/fhir" or path.startswith("/fhir/"):
        segments = [segment for segment in path.removeprefix("/fhir").split("/") if segment]
        return Access(needs=_fhir_needs(method, segments, conditional, reading_operations))
    if path == METRICS_PATH or path.startswith(("/cds-services/", PEERS_PREFIX)):
        return ANY_CALLER
    return Access(needs=_WHOLE_CASES)


def check_access(caller: Caller, access: Access) -> None:
    """Raise InsufficientScope, naming the first scope that is missing."""
    for resource_type, permission in access.needs:
        if not caller.may(resource_type, permission):
            raise InsufficientScope(f"system/{resource_type}.{permission}")


def check_entry(caller: Caller | None, method: str, url: str, *, conditional: bool = False) -> None:
    """Raise InsufficientScope unless the caller may do a Bundle entry: `url` is relative to the base.

    No caller means that authentication has not run (a test without it), and is refused by nobody here.
    """
    if caller is not None:
        path = "/fhir/" + url.partition("?")[0].lstrip("/")
        check_access(caller, required_access(method, path, conditional=conditional))


def check_chains(caller: Caller | None, names: Iterable[str]) -> None:
    """Raise InsufficientScope if a search asks about a type that the caller may not search.

    What `subject:Patient.name` or `_has:Observation:patient:code` finds tells what those resources say. A chain
    that names no type could lead to any, so it needs all.
    """
    if caller is None or caller.may(ANY_TYPE, "s"):
        return
    for name in names:
        if name.startswith("_has:"):
            for resource_type in name.split(":")[1::3]:
                caller.check(resource_type, "s")
        elif "." in name:
            *links, _ = name.split(".")
            for link in links:
                caller.check(link.partition(":")[2] or ANY_TYPE, "s")


def _fhir_needs(
    method: str, segments: list[str], conditional: bool, reading_operations: AbstractSet[str]
) -> tuple[Need, ...]:
    if not segments:
        return () if method == "POST" else ((ANY_TYPE, "s"),)
    resource_type, *rest = segments
    if not is_resource_type(resource_type):
        # `_search`, `_history` and operations of the whole server; for anything else the answer is 404.
        asked_as_a_whole = resource_type[0] in "_$" and resource_type not in _ASKED_BY_TYPE
        return ((ANY_TYPE, "s"),) if asked_as_a_whole else ()
    last = segments[-1]
    if last.startswith("$"):
        reads = method in _READING or last in reading_operations
        return ((resource_type, "s"),) if reads else ((resource_type, "c"), (resource_type, "u"))
    if not rest:
        return _type_level(method, resource_type, conditional)
    if rest[0] == "$export":
        return ((resource_type, "r"), (resource_type, "s"))  # a file: every resource of the type
    if rest[0].startswith("_"):
        return ((resource_type, "s"),)
    if len(rest) > 1 and is_resource_type(rest[1]):
        return ((rest[1], "s"),)  # a compartment search
    return ((resource_type, _BY_METHOD_ON_INSTANCE.get(method, "u")),)


def _type_level(method: str, resource_type: str, conditional: bool) -> tuple[Need, ...]:
    """Search and create; PUT, PATCH and DELETE without an id search for what they change."""
    search: Need = (resource_type, "s")
    if method in _READING:
        return (search,)
    if method == "POST":
        create: Need = (resource_type, "c")
        return (create, search) if conditional else (create,)
    return ((resource_type, _BY_METHOD_ON_INSTANCE.get(method, "u")), search)

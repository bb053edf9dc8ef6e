"""All of a service's paths as one route.

FastAPI asks each of its routes in turn and solves dependencies that no interaction has; with a score of paths that
costs as much as validating a resource. Here a path leads to its endpoints by one look-up, or past one or two patterns.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.datastructures import URLPath
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound
from starlette.types import Message, Receive, Scope, Send

from kanwa_shared.fhir.http import indented
from kanwa_shared.rest.responses import engine_of

Endpoint = Callable[[Request], Awaitable[Response]]

_PRETTY: Final = b"_pretty=true"
#: What FHIR's own parts of a path begin with; no type and no id does.
_RESERVED: Final = ("_", "$")


@dataclass(frozen=True, slots=True)
class Resource:
    """One path, such as `/fhir/{resource_type}/${operation}`, with the endpoint of each method."""

    path: str
    endpoints: dict[str, Endpoint] = field(default_factory=dict[str, Endpoint])

    @property
    def segments(self) -> tuple[str, ...]:
        """The path's parts."""
        return tuple(self.path.split("/"))

    @property
    def allowed(self) -> str:
        """Every method that is answered, as the header `Allow` lists them."""
        more = {"HEAD", "OPTIONS"} if "GET" in self.endpoints else {"OPTIONS"}
        return ", ".join(sorted(self.endpoints.keys() | more))


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A path with parameters: each part is its fixed beginning and the parameter's name, empty if it has none."""

    resource: Resource
    parts: tuple[tuple[str, str], ...]

    def parameters(self, given: list[str]) -> dict[str, str] | None:
        """The path's parameters if the segments fit, else None; as many are given as the path has."""
        found: dict[str, str] = {}
        for (prefix, name), segment in zip(self.parts, given, strict=True):
            if not name:
                if prefix != segment:
                    return None
            elif len(segment) > len(prefix) and segment.startswith(prefix):
                if not prefix and segment.startswith(_RESERVED):
                    return None
                found[name] = segment[len(prefix) :]
            else:
                return None
        return found


class Interactions(BaseRoute):
    """Answers the paths it knows, with every method: HEAD like GET, OPTIONS with what is allowed, others with 405."""

    def __init__(self, interactions: Iterable[tuple[str, str, Endpoint]]):
        self._fixed: dict[str, Resource] = {}
        self._patterns: dict[int, list[_Pattern]] = {}
        resources: dict[str, Resource] = {}
        for method, path, endpoint in interactions:
            if path not in resources:
                resources[path] = Resource(path)
                self._add(resources[path])
            resources[path].endpoints[method] = endpoint

    def _add(self, resource: Resource) -> None:
        if "{" not in resource.path:
            self._fixed[resource.path] = resource
            return
        parts = tuple(segment.partition("{")[::2] for segment in resource.segments)
        pattern = _Pattern(resource, tuple((prefix, name.removesuffix("}")) for prefix, name in parts))
        self._patterns.setdefault(len(parts), []).append(pattern)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """The path itself, else the first pattern that fits, in the order in which they were given."""
        if scope["type"] != "http":
            return Match.NONE, {}
        path: str = scope["path"]
        fixed = self._fixed.get(path)
        if fixed is not None:
            return Match.FULL, {"path_params": {}, "route": fixed}
        segments = path.split("/")
        for pattern in self._patterns.get(len(segments), ()):
            parameters = pattern.parameters(segments)
            if parameters is not None:
                return Match.FULL, {"path_params": parameters, "route": pattern.resource}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; a refusal is raised and answered by the application's handlers."""
        resource: Resource = scope["route"]
        method: str = scope["method"]
        endpoint = resource.endpoints.get(method)
        if endpoint is None and method == "HEAD" and "GET" in resource.endpoints:
            # As a GET to whoever looks at the method: some operations change the state, and only POST may do that.
            scope = dict(scope, method="GET")
            endpoint, send = resource.endpoints["GET"], _without_body(send)
        request = Request(scope, receive, send)
        if endpoint is None:
            response = _other_method(request, resource)
        else:
            response = await endpoint(request)
            query: bytes = scope["query_string"]
            if _PRETTY in query:
                _indent(response)
        await response(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """No interaction has a name."""
        parameters: Mapping[str, Any] = path_params
        raise NoMatchFound(name, dict(parameters))


def _other_method(request: Request, resource: Resource) -> Response:
    resource_type = request.path_params.get("resource_type")
    if resource_type is not None:
        engine_of(request).check_owned(resource_type)
    headers = {"Allow": resource.allowed}
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=headers)
    raise HTTPException(405, f"this method is not served here; {resource.allowed} are", headers)


def _without_body(send: Send) -> Send:
    """The answer's head with the length that its body would have, and no body."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return sending


def _indent(response: Response) -> None:
    body: bytes | memoryview = getattr(response, "body", b"")  # one that streams has none
    if body and response.headers.get("content-type", "").partition(";")[0].endswith(("+json", "/json")):
        response.body = indented(bytes(body))
        response.headers["content-length"] = str(len(response.body))

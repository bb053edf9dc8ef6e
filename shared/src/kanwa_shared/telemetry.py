"""What Prometheus is told: requests by service, method, route and status, beside what messaging counts.

The metrics are made once per process, so several applications in one process share them; `service` tells
them apart. Labels hold templates and codes, never ids: an id in a label is a patient's trail and an endless
series.
"""

from functools import lru_cache
from typing import Any, Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.requests import Request
from starlette.responses import Response

#: Seconds. The floor is one database commit, the ceiling what a gateway waits.
LATENCY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
#: A method outside these counts as one, or a client could make series at will.
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNROUTED: Final = "unrouted"

HTTP_REQUESTS: Final = Counter(
    "kanwa_http_requests", "Requests answered", ["service", "method", "route", "status"]
)
HTTP_SECONDS: Final = Histogram(
    "kanwa_http_request_seconds",
    "From the request's head to the last byte of the answer; event streams are left out",
    ["service", "method", "route"],
    buckets=LATENCY_BUCKETS,
)
HTTP_IN_PROGRESS: Final = Gauge("kanwa_http_requests_in_progress", "Requests being answered", ["service"])
AUTHENTICATION_REFUSALS: Final = Counter(
    "kanwa_authentication_refusals", "Requests refused with 401 or 403, by reason", ["service", "reason"]
)


def count_request(service: str, method: str, route: str, status: int, seconds: float | None) -> None:
    """Count one answered request; `seconds` is None for a stream, whose length says nothing."""
    known = method if method in METHODS else "other"
    _requests(service, known, route, status).inc()
    if seconds is not None:
        _seconds(service, known, route).observe(seconds)


# labels() takes a lock and checks each value: twice the cost of counting.
@lru_cache(maxsize=2048)
def _requests(service: str, method: str, route: str, status: int) -> Counter:
    return HTTP_REQUESTS.labels(service, method, route, str(status))


@lru_cache(maxsize=512)
def _seconds(service: str, method: str, route: str) -> Histogram:
    return HTTP_SECONDS.labels(service, method, route)


def route_template(scope: Any) -> str:
    """The path pattern that answered, such as `/fhir/{resource_type}/{id}`; `unrouted` if none did."""
    path: object = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else UNROUTED


def render_metrics(registry: CollectorRegistry = REGISTRY) -> bytes:
    """Every metric of this process in Prometheus' text format."""
    return generate_latest(registry)


async def metrics(_: Request) -> Response:
    """`GET /metrics`: the whole process, whichever of its applications is asked."""
    return Response(render_metrics(), headers={"Content-Type": CONTENT_TYPE_LATEST})

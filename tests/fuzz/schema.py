"""Requests that schemathesis makes from the server's OpenAPI document."""

import json
import random
from collections.abc import Callable
from typing import Any, Final

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.sent import Sent

_BODIES_OF_AN_OPERATION: Final = 20
_OTHERS_OF_AN_OPERATION: Final = 4


class Described:
    """The document, with the operations in an order that `number` draws."""

    def __init__(self, document: dict[str, Any], number: int):
        self._schema: Any = schemathesis.openapi.from_dict(document)
        self._number = number
        listed = [
            (path, method, "requestBody" in operation)
            for path, methods in sorted(document["paths"].items())
            for method, operation in methods.items()
        ]
        random.Random(number).shuffle(listed)
        self._with_body = [(path, method) for path, method, body in listed if body]
        self._without = [(path, method) for path, method, body in listed if not body]

    def send(self, send: Callable[[Sent], None], *, requests: int, bodies: int) -> None:
        """Some requests of each of `bodies` operations that have a body, and of as many others as `requests` leaves."""
        for path, method in self._with_body[:bodies]:
            self._cases(path, method, min(_BODIES_OF_AN_OPERATION, requests), send)
        left = max(0, requests - bodies * _BODIES_OF_AN_OPERATION)
        for path, method in self._without[: left // _OTHERS_OF_AN_OPERATION]:
            self._cases(path, method, _OTHERS_OF_AN_OPERATION, send)

    def _cases(self, path: str, method: str, count: int, send: Callable[[Sent], None]) -> None:
        operation = self._schema[path][method.upper()]

        @seed(self._number)
        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy())
        def each(case: Any) -> None:
            send(_sent(case))

        each()


def _sent(case: Any) -> Sent:
    query = tuple((name, str(value)) for name, value in (case.query or {}).items())
    headers = {name: str(value) for name, value in (case.headers or {}).items()}
    path = str(case.formatted_path).lstrip("/")
    if not case.media_type:
        return Sent(case.method, path, query, headers)
    headers["Content-Type"] = case.media_type
    if case.media_type == "application/x-www-form-urlencoded":
        fields = case.body if isinstance(case.body, dict) else {}
        content = (
            Sent("", "", tuple((name, str(value)) for name, value in fields.items())).target[1:].encode()
        )
    else:
        content = json.dumps(case.body, default=str).encode()
    return Sent(case.method, path, query, headers, content)

"""A subscriber's endpoint on real HTTP that records what it is sent and answers as it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response

from kanwa_shared.fhir.json_text import parse
from tests.support.mdt_server import served


@dataclass(frozen=True)
class Notification:
    """One POST: its headers by lower-case name, its text, and the Bundle in it."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def bundle(self) -> dict[str, Any]:
        return parse(self.body)

    @property
    def parameters(self) -> dict[str, Any]:
        """The status Parameters' values by name; `notification-event` is a list of parts by name."""
        read: dict[str, Any] = {"notification-event": []}
        for parameter in self.bundle["entry"][0]["resource"]["parameter"]:
            if parameter["name"] == "notification-event":
                read["notification-event"].append({part["name"]: _value(part) for part in parameter["part"]})
            else:
                read[parameter["name"]] = _value(parameter)
        return read

    @property
    def kind(self) -> str:
        return self.parameters["type"]

    @property
    def numbers(self) -> list[int]:
        return [int(event["event-number"]) for event in self.parameters["notification-event"]]

    @property
    def focus(self) -> list[str]:
        return [event["focus"]["reference"] for event in self.parameters["notification-event"]]


@dataclass
class Subscriber:
    """`status` is answered to every POST; what is refused is counted, not kept. `hangs` answers nothing
    until it is `released`; `hanging` counts what came meanwhile."""

    url: str = ""
    status: int = 200
    location: str | None = None
    hangs: bool = False
    released: asyncio.Event = field(default_factory=asyncio.Event)
    hanging: int = 0
    received: list[Notification] = field(default_factory=list)
    refused: int = 0

    def of_kind(self, kind: str) -> list[Notification]:
        return [notification for notification in self.received if notification.kind == kind]

    @property
    def numbers(self) -> list[int]:
        """Event numbers in the order of their coming."""
        return [number for each in self.of_kind("event-notification") for number in each.numbers]

    def application(self) -> FastAPI:
        app = FastAPI()

        @app.post("/{path:path}")
        async def take(path: str, request: Request) -> Response:
            body = await request.body()
            if self.hangs:
                self.hanging += 1
                await self.released.wait()
            if self.status >= 300:
                self.refused += 1
                headers = {"location": self.location} if self.location else {}
                return Response(status_code=self.status, headers=headers)
            self.received.append(Notification(f"/{path}", dict(request.headers), body))
            return Response(status_code=self.status)

        return app


@asynccontextmanager
async def subscriber(port: int) -> AsyncIterator[Subscriber]:
    """A subscriber that listens on a port of 127.0.0.1."""
    made = Subscriber()
    async with served(made.application(), port) as url:
        made.url = f"{url}/notifications"
        try:
            yield made
        finally:
            made.released.set()


def _value(parameter: dict[str, Any]) -> Any:
    return next(value for name, value in parameter.items() if name.startswith("value"))

"""A FHIR endpoint for Tasks that records what it is sent: the other side of a client's tests."""

from dataclasses import dataclass, field

from fastapi import FastAPI, Request, Response

from kanwa_shared.messaging.envelope import Event


@dataclass
class FhirEndpoint:
    """Answers GET Task with what it was given and records what is PUT; `refusal` is answered instead of 200."""

    url: str = ""
    tasks: dict[str, bytes] = field(default_factory=dict)
    puts: list[tuple[str, str, bytes]] = field(default_factory=list)
    refusal: Response | None = None

    def application(self) -> FastAPI:
        app = FastAPI()

        @app.get("/fhir/Task/{id}")
        async def read(id: str) -> Response:
            known = self.tasks.get(id)
            return Response(known, 200 if known else 404, media_type="application/fhir+json")

        @app.put("/fhir/Task/{id}")
        async def update(id: str, request: Request) -> Response:
            self.puts.append((id, request.headers["if-match"], await request.body()))
            return self.refusal or Response(self.puts[-1][2], 200, media_type="application/fhir+json")

        return app

    def holds(self, event: Event) -> None:
        """Keep the Task of an event as the server would have it."""
        meta = b'"meta": {"versionId": "%d"}, "extension": [{"url": "https://a.example", "valueDecimal": 1.50}], '
        self.tasks[event.resource_id] = (event.body or b"").replace(b"{", b"{" + meta % event.version, 1)

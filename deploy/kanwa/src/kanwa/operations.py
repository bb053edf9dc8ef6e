"""One /ready and one /metrics for a deployment of many processes: asks each and answers for all.

`python -m kanwa.operations` serves it in the compose deployment, behind the gateway. KANWA_OPERATIONS_TARGETS
names the processes: `intake-api=http://intake-api:8000 intake-worker=http://intake-worker:8000`.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import httpx
import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

# A process that takes longer to say that it is ready is not.
ANSWER_SECONDS: Final = 3.0


def parse_targets(text: str) -> dict[str, str]:
    """Read `name=url name=url`. Raises ValueError naming the part that isn't of that form."""
    targets: dict[str, str] = {}
    for part in text.split():
        name, separator, url = part.partition("=")
        if not (name and separator and url.startswith(("http://", "https://"))):
            raise ValueError(f"KANWA_OPERATIONS_TARGETS: {part!r} is not of the form name=http://host:port")
        targets[name] = url.rstrip("/")
    return targets


def create_app(targets: Mapping[str, str], *, transport: httpx.AsyncBaseTransport | None = None) -> FastAPI:
    """Build the application; `targets` maps a process's name to its address."""
    clients: list[httpx.AsyncClient] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with httpx.AsyncClient(timeout=ANSWER_SECONDS, transport=transport, trust_env=False) as client:
            clients.append(client)
            yield
            clients.clear()

    app = FastAPI(title="kanwa operations", lifespan=lifespan, openapi_url=None)

    async def ask_all(path: str) -> dict[str, httpx.Response | None]:
        answers = await asyncio.gather(*(_ask(clients[0], f"{url}{path}") for url in targets.values()))
        return dict(zip(targets, answers, strict=True))

    @app.get("/health")
    async def health() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """Say that this process lives."""
        return {"status": "alive"}

    @app.get("/ready")
    async def ready() -> JSONResponse:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """Give each process's own answer; 503 as soon as one is not ready."""
        answers = await ask_all("/ready")
        content = {name: _readiness(answer) for name, answer in answers.items()}
        well = all(answer is not None and answer.is_success for answer in answers.values())
        degraded = any(entry.get("status") == "degraded" for entry in content.values())
        status = "degraded" if well and degraded else "ready" if well else "not-ready"
        return JSONResponse({"status": status, "processes": content}, status_code=200 if well else 503)

    @app.get("/metrics")
    async def metrics() -> Response:  # pyright: ignore[reportUnusedFunction]  # registered by the decorator
        """Give every process's metrics with the label `process`, and `kanwa_process_up` for each."""
        answers = await ask_all("/metrics")
        texts = {name: _text(answer) for name, answer in answers.items()}
        return Response(merge_metrics(texts), media_type=CONTENT_TYPE_LATEST)

    return app


def merge_metrics(texts: Mapping[str, str | None]) -> bytes:
    """Merge Prometheus texts into one, each sample with its process's name; None stands for no answer."""
    registry = CollectorRegistry()
    registry.register(_Merged(texts))
    return generate_latest(registry)


class _Merged(Collector):
    def __init__(self, texts: Mapping[str, str | None]) -> None:
        self._texts = texts

    def collect(self) -> Iterable[Metric]:
        up = Metric("kanwa_process_up", "Whether the process answered with its metrics", "gauge")
        families: dict[str, Metric] = {up.name: up}
        for process, text in self._texts.items():
            label = {"process": process}
            up.add_sample(up.name, label, 0.0 if text is None else 1.0)
            for family in text_string_to_metric_families(text or ""):
                merged = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    merged.add_sample(sample.name, sample.labels | label, sample.value)
        return families.values()


async def _ask(client: httpx.AsyncClient, url: str) -> httpx.Response | None:
    try:
        return await client.get(url)
    except httpx.HTTPError:
        return None


def _readiness(answer: httpx.Response | None) -> dict[str, Any]:
    if answer is None:
        return {"status": "no-answer"}
    try:
        content: Any = answer.json()
    except ValueError:
        content = None
    return (
        cast("dict[str, Any]", content)
        if isinstance(content, dict)
        else {"status": f"http-{answer.status_code}"}
    )


def _text(answer: httpx.Response | None) -> str | None:
    return answer.text if answer is not None and answer.is_success else None


def main() -> None:
    """Serve on KANWA_HOST and KANWA_PORT."""
    app = create_app(parse_targets(os.environ["KANWA_OPERATIONS_TARGETS"]))
    host, port = os.environ.get("KANWA_HOST", "127.0.0.1"), int(os.environ.get("KANWA_PORT", "8000"))
    uvicorn.run(app, host=host, port=port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()

"""An authorization server's keys, and an application behind kanwa's own protection on real HTTP."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from kanwa.http_server import QuietServer
from kanwa_shared.security.keys import (
    Algorithm,
    PrivateKey,
    make_private_key,
    public_jwk,
    sign_token,
)
from kanwa_shared.settings import BaseServiceSettings
from kanwa_shared.telemetry import metrics
from tests.support.waiting import until

ISSUER, AUDIENCE = "https://hospital.example/auth", "https://kanwa.example/fhir"
BODY_LIMIT = 4096


class AuthorizationServer:
    """Keys that may sign, published in a JWKS file."""

    def __init__(self, folder: Path):
        self.file = folder / "jwks.json"
        self.keys: dict[str, tuple[PrivateKey, Algorithm]] = {}

    def add_key(self, name: str, algorithm: Algorithm = "ES384") -> None:
        self.keys[name] = (make_private_key(algorithm), algorithm)
        self.publish()

    def publish(self) -> None:
        public = [public_jwk(key, algorithm) for key, algorithm in self.keys.values()]
        self.file.write_text(json.dumps({"keys": public}))

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = datetime.now(UTC)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "ehr",
            "client_id": "ehr",
            "scope": "system/*.cruds",
            "iat": int(now.timestamp()),
            "exp": int((now + timedelta(minutes=5)).timestamp()),
            "jti": str(uuid4()),
        }
        return {name: value for name, value in {**claims, **changed}.items() if value is not ...}

    def token(self, key: str = "first", **changed: Any) -> str:
        return sign_token(*self.keys[key], self.claims(**changed))


def settings_of(**given: Any) -> BaseServiceSettings:
    values: dict[str, Any] = {
        "database_url": "postgresql://unused",
        "auth_issuer": ISSUER,
        "auth_audience": AUDIENCE,
        "max_body_bytes": BODY_LIMIT,
        "base_url": "http://kanwa.example/fhir",
    }
    return BaseServiceSettings(**{**values, **given})


def application() -> FastAPI:
    """Says who called and what was sent; fails when asked to."""
    app = FastAPI()

    async def answer(request: Request) -> Response:
        body = await request.body()
        caller = request.scope["state"].get("caller")
        said = {
            "caller": caller.client_id if caller else None,
            "token": caller.token_id if caller else None,
            "traceparent": request.scope["state"]["traceparent"],
            "request": request.scope["state"]["request_id"],
            "length": len(body),
        }
        return JSONResponse(said)

    async def fail(_: Request) -> Response:
        raise RuntimeError("Yamada Hanako")

    async def page(_: Request) -> Response:
        return HTMLResponse("<p>board</p>")

    app.add_api_route("/fail", fail, methods=["GET"], response_class=Response)
    app.add_api_route("/metrics", metrics, methods=["GET"], response_class=Response)
    app.add_api_route("/", page, methods=["GET"], response_class=Response)
    methods = ["GET", "POST", "PUT", "DELETE"]
    app.add_api_route("/fhir/{rest:path}", answer, methods=methods, response_class=Response)
    app.add_api_route("/{rest:path}", answer, methods=methods, response_class=Response)
    return app


@asynccontextmanager
async def serving(app: Any, port: int) -> AsyncGenerator[None]:
    """Serve on loopback until the block ends."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="off")
    server = QuietServer(config)
    task = asyncio.create_task(server.serve())
    try:
        await until(lambda: server.started or task.done(), deadline_seconds=10)
        yield
    finally:
        server.should_exit = True
        await task

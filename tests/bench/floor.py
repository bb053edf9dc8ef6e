"""The floor: a bare FastAPI application that writes the same rows by the same statement, and does nothing else.

`python -m tests.bench.floor DATABASE_URL PORT ARGUMENT_FILE`
"""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response

from kanwa_shared.store.commit import COMMIT
from kanwa_shared.store.pool import open_pool
from tests.bench.referral import FreshIds

POOL_MAX = 16


def create_floor(database_url: str, argument: str) -> FastAPI:
    """No parsing, no validation, no rules, no search index work, no authentication, no log."""
    pool = open_pool(database_url, max_size=POOL_MAX)
    rows = FreshIds(argument)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with pool:
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.post("/fhir/ServiceRequest")
    async def create(request: Request) -> Response:
        body = await request.body()
        async with pool.connection() as connection:
            await connection.execute(COMMIT, (rows.text(),))
        return Response(body, 201, media_type="application/fhir+json")

    return app


if __name__ == "__main__":
    url, port, file = sys.argv[1:]
    uvicorn.run(
        create_floor(url, Path(file).read_text()), port=int(port), log_level="warning", access_log=False
    )

"""Is the service alive, and is what it needs there."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.rest.responses import engine_of


async def health(_: Request) -> Response:
    """200: the process answers. It says nothing about the database or the broker."""
    return Response(b'{"status":"alive"}', media_type="application/json")


async def ready(request: Request) -> Response:
    """200 with each dependency's state, 503 if requests cannot be served.

    A backlog in the outbox (the broker is away) is `degraded` and still 200: referrals are taken all the same.
    """
    engine = engine_of(request)
    try:
        async with engine.store.pool.connection(timeout=engine.settings.ready_timeout_seconds) as connection:
            cursor = await connection.execute(
                "SELECT count(*), coalesce(extract(epoch FROM now() - min(occurred_at)), 0)::float8 "
                "FROM outbox WHERE published_at IS NULL"
            )
            row = await cursor.fetchone()
    except Exception as error:  # whatever it is, the answer is that the database is not there
        return _answer(503, {"status": "unavailable", "database": type(error).__name__})
    waiting, age_seconds = row or (0, 0.0)
    degraded = age_seconds > engine.settings.outbox_age_degraded_seconds
    state = "degraded" if degraded else "ok"
    return _answer(
        200,
        {
            "status": "degraded" if degraded else "ready",
            "database": "ok",
            "outbox": {"status": state, "waiting": waiting, "oldest_age_seconds": round(age_seconds, 3)},
        },
    )


def _answer(status: int, content: dict[str, object]) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")

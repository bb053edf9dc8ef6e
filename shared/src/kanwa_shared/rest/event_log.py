"""A source's own log: `GET /events?after=N`, its events by `sequence`, published or not, in bounded pages.

For consumers that find a gap in `sequence`. The answer is a CloudEvents batch, see
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md#4-json-batch-format.
"""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from kanwa_shared.errors import Gone, Invalid, Issue
from kanwa_shared.messaging.envelope import Event
from kanwa_shared.messaging.outbox import BodyMissing, events_after, sequences_so_far
from kanwa_shared.messaging.source_log import BATCH_TYPE, LAST_HEADER, PUBLISHED_HEADER
from kanwa_shared.rest.responses import engine_of

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 1000
#: A page ends after this much text; one event is sent however large it is.
PAGE_BYTES: Final = 8 * 1024 * 1024
#: Rows read at a time, so that a page of large resources is not read whole to be thrown away.
_STEP: Final = 50
_PARAMETERS: Final = frozenset({"after", "limit", "data"})


async def event_log(request: Request) -> Response:
    """Events after sequence `after` (0), at most `limit` (100, up to 1000), with `data=none` without the resources.

    `Link rel=next` is there when the page is not the last one. 400 for what is not understood, 410 if a version that
    an event names is gone.
    """
    engine = engine_of(request)
    after, limit, with_resources = _asked(request)
    texts: list[bytes] = []
    size, last = 0, after
    async with engine.store.pool.connection() as connection:
        # First what the source has reached: a page that is read later holds at least that.
        reached = await sequences_so_far(connection)
        while len(texts) < limit and (size < PAGE_BYTES or not texts):
            step = min(limit - len(texts), _STEP if with_resources else LIMIT_MAX)
            try:
                events = await events_after(
                    connection, engine.definition.name, last, step, with_resources=with_resources
                )
            except BodyMissing as missing:
                raise Gone(f"{missing}; go on after it with data=none") from missing
            for event in events:
                if texts and size >= PAGE_BYTES:
                    break
                texts.append(_text(event, with_resources))
                size, last = size + len(texts[-1]), event.sequence
            if len(events) < step:
                break
    headers = {LAST_HEADER: str(reached.last), PUBLISHED_HEADER: str(reached.published)}
    if texts and last < reached.last:
        shown = "" if with_resources else "&data=none"
        headers["Link"] = f'<{request.url.path}?after={last}&limit={limit}{shown}>; rel="next"'
    return Response(b"[" + b",".join(texts) + b"]", media_type=BATCH_TYPE, headers=headers)


def _text(event: Event, with_resources: bool) -> bytes:
    return event.to_cloudevent(include_resource=with_resources)


def _asked(request: Request) -> tuple[int, int, bool]:
    query = request.query_params
    issues = [
        Issue("not-supported", f"/events has no parameter '{name}'; it has after, data and limit")
        for name in sorted(set(query) - _PARAMETERS)
    ]
    after = _number(query.get("after", "0"), "after", "a sequence, 0 or more", issues)
    limit = _number(query.get("limit", str(LIMIT_DEFAULT)), "limit", f"1 to {LIMIT_MAX}", issues)
    shown = query.get("data", "resource")
    if shown not in {"resource", "none"}:
        issues.append(Issue("value", "data is 'resource' or 'none' (events without their resources)"))
    if issues:
        raise Invalid(issues)
    return after, max(1, min(limit, LIMIT_MAX)), shown == "resource"


def _number(text: str, name: str, expected: str, issues: list[Issue]) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    issues.append(Issue("value", f"{name} is {expected}, a whole number, not '{text[:40]}'"))
    return 0

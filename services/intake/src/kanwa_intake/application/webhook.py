"""One notification to one endpoint: a signed POST, and whether it was taken."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import httpx
import structlog

from kanwa_intake.domain.subscriptions import PAYLOAD
from kanwa_intake.domain.webhook_signature import signature_headers
from kanwa_intake.store.subscriptions import StoredChannel
from kanwa_shared.security.outbound import CheckedTransport, Resolve, TargetPolicy, TargetRefused

_log = structlog.get_logger(__name__)

#: What is read of an answer, so that its connection can be used again; nothing of it is kept.
_ANSWER_BYTES_MAX: Final = 65_536


class Endpoint:
    """The endpoint of one channel, over connections of its own: none is shared with another Subscription."""

    def __init__(self, channel: StoredChannel, client: httpx.AsyncClient):
        self._channel = channel
        self._client = client

    async def post(self, message_id: str, body: bytes, now: datetime) -> str | None:
        """Send; None if the endpoint answered 2xx in time, else the reason in words without patient data."""
        channel = self._channel
        headers = [
            *channel.headers,
            ("content-type", PAYLOAD),
            *signature_headers(channel.secret, message_id, now, body).items(),
        ]
        try:
            async with asyncio.timeout(channel.timeout_seconds):
                return await self._send(headers, body)
        except TimeoutError:
            return f"no answer within {channel.timeout_seconds} s"
        except TargetRefused as refusal:
            return str(refusal)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            return _in_words(error)

    async def _send(self, headers: list[tuple[str, str]], body: bytes) -> str | None:
        async with self._client.stream(
            "POST", self._channel.endpoint, headers=headers, content=body
        ) as answer:
            read = 0
            async for part in answer.aiter_raw():
                read += len(part)
                if read > _ANSWER_BYTES_MAX:
                    break
        return None if answer.is_success else f"answered HTTP {answer.status_code}"


@asynccontextmanager
async def endpoint_of(
    channel: StoredChannel, policy: TargetPolicy, context: ssl.SSLContext, resolver: Resolve
) -> AsyncGenerator[Endpoint]:
    """The endpoint of a channel for a few notifications; its connections are closed afterwards."""
    transport = CheckedTransport(policy, context, resolver)
    async with httpx.AsyncClient(
        transport=transport, timeout=channel.timeout_seconds, trust_env=False, follow_redirects=False
    ) as client:
        client.headers = httpx.Headers({"accept": "*/*", "user-agent": "kanwa"})
        yield Endpoint(channel, client)


def _in_words(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return "no TLS connection"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError):
        return "no connection" if "has no address" not in str(error) else "its name has no address"
    return f"the connection failed ({type(error).__name__})"

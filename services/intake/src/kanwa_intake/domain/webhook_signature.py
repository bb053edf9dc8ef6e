"""Who sent a notification, and that nobody altered it: HMAC-SHA256 in the headers of the Standard Webhooks scheme.

Source: https://www.standardwebhooks.com, for which every usual language has a library.
"""

from base64 import b64encode
from datetime import datetime
from hashlib import sha256
from hmac import new

SECRET_BYTES = 32


def shown_secret(secret: bytes) -> str:
    """The secret in the form in which libraries take it."""
    return "whsec_" + b64encode(secret).decode()


def signature_headers(secret: bytes, message_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """The three headers; `message_id` is the same however often the message is sent, so that a receiver can tell."""
    timestamp = str(int(now.timestamp()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = b64encode(new(secret, signed, sha256).digest()).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }

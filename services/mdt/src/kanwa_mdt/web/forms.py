"""Forms as browsers send them without files."""

from typing import Final
from urllib.parse import parse_qsl

from starlette.datastructures import FormData
from starlette.requests import Request

from kanwa_shared.errors import Invalid
from kanwa_shared.fhir.http import UnsupportedMediaType

MAX_BYTES: Final = 64 * 1024
_TYPE: Final = "application/x-www-form-urlencoded"


async def read_form(request: Request) -> FormData:
    """The form in a request. Raises UnsupportedMediaType, and Invalid if it is too large or not UTF-8."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _TYPE:
        raise UnsupportedMediaType(f"a form is sent as {_TYPE}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise Invalid(f"the form is larger than {MAX_BYTES} bytes", code="too-long")
    try:
        return FormData([*parse_qsl(body.decode(), keep_blank_values=True, errors="strict")])
    except (UnicodeDecodeError, ValueError) as error:
        raise Invalid("the form is not UTF-8") from error

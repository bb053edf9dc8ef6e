"""What an exception may say in a log: classes, places and codes, never its message."""

import traceback
from typing import Final, cast

from kanwa_shared.errors import DomainError

_FRAMES_SHOWN: Final = 25
_CHAIN_SHOWN: Final = 5
_GROUP_SHOWN: Final = 5


def fault_text(error: BaseException) -> str:
    """The chain of an exception, newest last: class, SQLSTATE or issue codes, and the frames it passed."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and len(chain) < _CHAIN_SHOWN:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "\nthen ".join(_one(link) for link in reversed(chain))


def _one(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES_SHOWN:]
    lines = [
        _headline(error),
        *(f"  {_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames),
    ]
    if isinstance(error, BaseExceptionGroup):
        members = cast("BaseExceptionGroup[BaseException]", error).exceptions
        for member in members[:_GROUP_SHOWN]:
            lines.extend(f"  | {line}" for line in fault_text(member).splitlines())
    return "\n".join(lines)


def _headline(error: BaseException) -> str:
    name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    if isinstance(error, DomainError):
        return f"{name} {','.join(issue.code for issue in error.issues)}"
    sqlstate = getattr(error, "sqlstate", None)
    if isinstance(sqlstate, str):
        return f"{name} {sqlstate}"
    number = error.errno if isinstance(error, OSError) else None
    return f"{name} errno {number}" if number is not None else name


def _short(filename: str) -> str:
    """From the distribution on: where it is installed says nothing and differs on every machine."""
    for marker in ("/site-packages/", "/src/", "/lib/python"):
        if marker in filename:
            return filename.rpartition(marker)[2]
    return filename.rpartition("/")[2]

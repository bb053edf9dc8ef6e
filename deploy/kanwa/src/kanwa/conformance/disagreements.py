"""Files of which R4 says something else than their manifest, with R4's words."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Final

import msgspec

_TABLE: Final = files("kanwa.conformance") / "disagreements.toml"


class Disagreement(msgspec.Struct, frozen=True):
    """`file` is the end of the file's path, `found` what kanwa's answer must hold, `rule` where R4 says so."""

    file: str
    found: str
    rule: str


@cache
def disagreements() -> tuple[Disagreement, ...]:
    """The whole table."""
    table = tomllib.loads(_TABLE.read_text(encoding="utf-8"))
    return msgspec.convert(table["disagreement"], type=tuple[Disagreement, ...])


def disagreement_about(file: str) -> Disagreement | None:
    """The entry of a file, by the end of its path."""
    return next((entry for entry in disagreements() if file.endswith(entry.file)), None)

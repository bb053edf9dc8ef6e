"""The StructureDefinitions that kanwa publishes, read once from the files beside this module."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from kanwa_shared.clinical.codes import CANONICAL
from kanwa_shared.fhir.json_text import parse
from kanwa_shared.fhir.json_types import Tree

CANONICAL_BASE: Final = f"{CANONICAL}/StructureDefinition/"
_FOLDER: Final = files("kanwa_shared.profiles") / "definitions"


@cache
def profile_resources() -> Sequence[Tree]:
    """Every profile, by name; their differentials are edited by hand, the snapshots generated."""
    listed = sorted(_FOLDER.iterdir(), key=lambda entry: entry.name)
    return tuple(parse(entry.read_bytes()) for entry in listed if entry.name.endswith(".json"))


@cache
def by_url() -> Mapping[str, Tree]:
    """The profiles by canonical URL without version."""
    return MappingProxyType({str(profile["url"]): profile for profile in profile_resources()})


@cache
def profiles_of(resource_type: str) -> tuple[str, ...]:
    """Canonical URLs of the profiles on a resource type."""
    return tuple(url for url, profile in by_url().items() if profile["type"] == resource_type)

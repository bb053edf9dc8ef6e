"""What R4's own SearchParameters say of themselves; statements about them must agree."""

from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

_OFFICIAL: Final = "http://hl7.org/fhir/SearchParameter/"


class OfficialSearchParameter(msgspec.Struct, frozen=True, rename={"bases": "base"}):
    """Type and base resource types of one of R4's SearchParameters."""

    type: str
    bases: tuple[str, ...]


def find(canonical: Any) -> OfficialSearchParameter | None:
    """R4's SearchParameter of that canonical URL; None for all others, and for what names another version."""
    if not isinstance(canonical, str) or not canonical.startswith(_OFFICIAL):
        return None
    name, _, version = canonical.removeprefix(_OFFICIAL).partition("|")
    return _table().get(name) if version in ("", "4.0.1") else None


@cache
def _table() -> dict[str, OfficialSearchParameter]:
    path = files("kanwa_shared.fhir.validation") / "r4" / "search-parameters.json"
    return msgspec.json.decode(path.read_bytes(), type=dict[str, OfficialSearchParameter])

"""What shows that the owner of a type has done what was handed over to it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from kanwa_shared.fhir.json_text import dumps, parse
from kanwa_shared.rest.owners_copies import Awaited
from kanwa_shared.store.stored import StoredResource

SAID = b'{"resourceType":"Observation","id":"o","status":"final","valueQuantity":{"value":1.5}}'


def copy(text: bytes | None, version: int = 1) -> StoredResource:
    """A copy as an owner's event brings it: with the meta that the owner gave."""
    body = None
    if text is not None:
        tree = parse(text)
        given = {"versionId": str(version), "lastUpdated": "2026-11-25T09:00:00.000Z"}
        body = dumps({**tree, "meta": {**given, **tree.get("meta", {})}})
    return StoredResource("Observation", "o", version, datetime.now(UTC), "update", body)


def saying(**members: Any) -> bytes:
    return dumps({**parse(SAID), **members})


def test_a_copy_under_a_clients_id_shows_only_what_says_the_same() -> None:
    """The owner had versions of it before: their copies may come first."""
    awaited = Awaited(None, parse(SAID))
    assert not awaited.shown_by(copy(saying(status="amended"), 3))
    assert not awaited.shown_by(copy(None, 4))
    assert awaited.shown_by(copy(SAID, 5))


def test_any_copy_under_an_id_that_was_drawn_for_it_shows_it() -> None:
    assert Awaited(None, parse(SAID), new=True).shown_by(copy(saying(status="amended")))


def test_an_update_that_changes_nothing_is_shown_by_the_copy_that_is_there() -> None:
    there = copy(SAID, 7)
    unchanged = Awaited(there, parse(SAID))
    assert (unchanged.changes_nothing, unchanged.shown_by(there)) == (True, True)
    changed = Awaited(there, parse(saying(status="amended")))
    assert (changed.changes_nothing, changed.shown_by(there)) == (False, False)
    assert not Awaited(copy(None, 7), parse(SAID)).changes_nothing


def test_a_deletion_is_shown_by_a_newer_deletion() -> None:
    assert Awaited(copy(SAID, 2), None).shown_by(copy(None, 3))
    assert not Awaited(copy(SAID, 2), None).shown_by(copy(SAID, 3))
    assert not Awaited(copy(None, 2), None).worth_waiting


@pytest.mark.parametrize(
    "other",
    [
        SAID.replace(b"1.5", b"1.50"),
        saying(meta={"tag": [{"code": "a"}]}),
        saying(meta={"profile": ["http://x.example/p"]}),
        saying(status="amended"),
    ],
    ids=["digits", "a label", "a profile", "an element"],
)
def test_what_says_something_else_is_told_apart(other: bytes) -> None:
    assert not copy(SAID).says(parse(other))
    assert copy(other).says(parse(other))

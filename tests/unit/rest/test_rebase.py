"""A change of an older version is made of the current one, and undoes nothing that was changed since."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kanwa_shared.fhir.json_text import parse
from kanwa_shared.rest.rebase import rebased

TREES = st.dictionaries(st.sampled_from(["status", "_status", "owner", "note"]), st.integers(0, 2))


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    names = before.keys() | after.keys()
    return {name: after.get(name) for name in names if before.get(name) != after.get(name)}


@given(TREES, TREES, TREES)
def test_both_changes_stand_or_the_one_that_was_there_first(
    base: dict[str, Any], current: dict[str, Any], wanted: dict[str, Any]
) -> None:
    ours, theirs = changed(base, wanted), changed(base, current)
    contradicts = any(theirs[name] != value for name, value in ours.items() if name in theirs)
    made = rebased(current, base, wanted)
    assert (made is None) == contradicts
    if made is not None:
        assert changed(base, made) == theirs | ours


def test_identity_is_the_current_versions_and_a_digit_is_a_change() -> None:
    base, current, wanted = (
        parse(b'{"id":"t","meta":{"versionId":"%d"},"x":%s,"lastModified":"%d"}' % (number, text, number))
        for number, text in ((1, b"1.5"), (2, b"1.5"), (3, b"1.50"))
    )
    made = rebased(current, base, wanted)
    assert made is not None
    assert (made["meta"], str(made["x"]), made["lastModified"]) == ({"versionId": "2"}, "1.50", "3")

"""Parts of a history are joined so that no page skips what a part has not given yet."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from kanwa_shared.rest.history_of_all import Part, joined
from kanwa_shared.store.history import Mark


def mark(number: int) -> Mark:
    return Mark(datetime.fromtimestamp(number, UTC), "Task", str(number), 1)


@given(st.lists(st.integers(0, 2), max_size=20), st.lists(st.integers(1, 5), min_size=3, max_size=3))
def test_following_the_pages_shows_each_entry_once_in_order(owners: list[int], most: list[int]) -> None:
    """Service `n` owns each entry whose owner it is, and gives at most `most[n]` of them, whatever is asked."""
    seen: list[int] = []
    before = len(owners)
    for _ in range(len(owners) + 1):
        parts: list[Part] = []
        for service, limit in enumerate(most):
            own = [number for number in range(before - 1, -1, -1) if owners[number] == service]
            parts.append(Part([(mark(one), one) for one in own[:limit]], len(own), len(own) > limit))
        page = joined(parts, 3)
        assert len(page.entries) <= 3
        assert page.total == before
        seen += [one for _, one in page.entries]
        if not page.more:
            break
        assert page.entries, "a page that is followed by another leads on"
        before = page.entries[-1][1]
    assert seen == list(range(len(owners) - 1, -1, -1))

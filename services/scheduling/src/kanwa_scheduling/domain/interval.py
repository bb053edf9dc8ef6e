"""Half-open intervals of instants, and sets of them: [start, end), aware datetimes, sorted and apart."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple


class Interval(NamedTuple):
    """From `start` (included) to `end` (not included), both aware."""

    start: datetime
    end: datetime

    def overlaps(self, other: "Interval") -> bool:
        """Whether the two share any time; intervals that only touch do not."""
        return self.start < other.end and other.start < self.end

    def covers(self, other: "Interval") -> bool:
        """Whether all of `other` lies in this interval."""
        return self.start <= other.start and other.end <= self.end


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same time as sorted intervals that neither overlap nor touch; empty ones are dropped."""
    merged: list[Interval] = []
    for interval in sorted(i for i in intervals if i.start < i.end):
        if merged and interval.start <= merged[-1].end:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].end, interval.end))
        else:
            merged.append(interval)
    return merged


def intersection(left: Sequence[Interval], right: Sequence[Interval]) -> list[Interval]:
    """Time in both; each argument is a result of `union`."""
    common: list[Interval] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i].start, right[j].start), min(left[i].end, right[j].end)
        if start < end:
            common.append(Interval(start, end))
        if left[i].end < right[j].end:
            i += 1
        else:
            j += 1
    return common


def difference(left: Sequence[Interval], right: Sequence[Interval]) -> list[Interval]:
    """Time in `left` and not in `right`; each argument is a result of `union`."""
    remaining: list[Interval] = []
    for interval in left:
        start = interval.start
        for taken in right:
            if taken.end <= start or taken.start >= interval.end:
                continue
            if taken.start > start:
                remaining.append(Interval(start, taken.start))
            start = max(start, taken.end)
        if start < interval.end:
            remaining.append(Interval(start, interval.end))
    return remaining

"""What can be told of a condition from its shape alone."""

from collections.abc import Iterator

from kanwa_shared.fhir.search.conditions import (
    AllOf,
    AnyOf,
    Condition,
    HasId,
    HasTokens,
    Not,
    PointedToBy,
    PointsTo,
)


def flattened(condition: AllOf) -> Iterator[Condition]:
    """The conditions that must all hold, without AllOf among them."""
    for part in condition.conditions:
        if isinstance(part, AllOf):
            yield from flattened(part)
        else:
            yield part


def leaves_few(condition: Condition) -> bool:
    """Whether few resources can satisfy a condition, as far as its kind tells."""
    return isinstance(condition, HasId | PointsTo | PointedToBy) or (
        isinstance(condition, HasTokens) and condition.rare
    )


def has_steps(condition: Condition) -> bool:
    """Whether a condition looks at other resources too."""
    match condition:
        case PointsTo() | PointedToBy():
            return True
        case Not(inner):
            return has_steps(inner)
        case AllOf(conditions) | AnyOf(conditions):
            return any(has_steps(part) for part in conditions)
        case _:
            return False

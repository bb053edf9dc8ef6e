"""The corpus: every operator over every seed, from which a seeded draw takes a few places each."""

import random
from collections.abc import Callable, Iterator
from typing import Any, Final

from kanwa_shared.fhir.json_types import Tree
from tests.mutations.cases import Case, seeds
from tests.mutations.constraints import breaking, merged
from tests.mutations.faults import FAULTS
from tests.mutations.profile_cases import BASE, BREAKING, CONFORMING
from tests.mutations.variants import VARIANTS

_OF_A_PROFILE: Final = 8


def corpus(*, places: int, seeds_of_a_type: int, seed: int = 4) -> Iterator[Case]:
    """Cases of all owned types, always the same for the same numbers.

    `places` is how many of an operator's places in one resource are drawn; at most `seeds_of_a_type` resources are
    used of each type, kanwa's own examples first.
    """
    draw = random.Random(seed)
    for resources in seeds().values():
        for name, tree in resources[:seeds_of_a_type]:
            yield Case("unchanged", name, "", tree, True)
            for operator, mutate in FAULTS.items():
                yield from _drawn(draw, places, operator, name, mutate, tree, valid=False)
            for operator, mutate in VARIANTS.items():
                yield from _drawn(draw, places, operator, name, mutate, tree, valid=True)
    yield from constraint_cases()
    yield from profile_cases()


def constraint_cases() -> Iterator[Case]:
    """Each constraint broken in the type's first seed."""
    for number, (key, resource_type, change) in enumerate(breaking()):
        name, tree = seeds()[resource_type][0]
        yield Case(f"constraint-{key}", name, str(number), merged(tree, change), False)


def profile_cases() -> Iterator[Case]:
    """What conforms to kanwa's profiles and what breaks each of their rules, with the claim that it conforms."""
    for id, conforming in CONFORMING.items():
        for number, tree in enumerate(conforming()[:_OF_A_PROFILE]):
            yield Case("profile-kept", id, str(number), _claiming(tree, id), True)
    for number, (id, tree, _) in enumerate(BREAKING):
        yield Case("profile-broken", id, str(number), _claiming(tree, id), False)


def _claiming(tree: Tree, id: str) -> Tree:
    return {**tree, "meta": {"profile": [BASE + id]}}


def _drawn(
    draw: random.Random,
    places: int,
    operator: str,
    name: str,
    mutate: Callable[[Tree], Iterator[tuple[str, Any]]],
    tree: Tree,
    *,
    valid: bool,
) -> Iterator[Case]:
    made = list(mutate(tree))
    for where, changed in draw.sample(made, min(places, len(made))):
        if changed != tree:
            yield Case(operator, name, where, changed, valid)

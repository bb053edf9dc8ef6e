"""What the FHIRPath of one patch may cost: paths are the client's, and they run where others wait."""

from typing import Final, cast

from kanwa_shared.errors import BusinessRule
from kanwa_shared.fhir.json_types import Tree

#: What the paths of one patch may look at together: see `Budget`.
MAX_STEPS: Final = 1_000_000
#: Text is compared far faster than elements are.
_CHARACTERS_PER_STEP: Final = 100


class Budget:
    """What is left of the work that one patch may cause.

    A step is one element that a path walks over, one value that one part of a condition looks at, or one character
    of a path: on the order of a microsecond.
    """

    def __init__(self, steps: int = MAX_STEPS):
        self._left = steps

    def spend(self, steps: int) -> None:
        """Raise BusinessRule if the patch costs more than it may."""
        self._left -= steps
        if self._left < 0:
            raise BusinessRule(
                "the patch's paths look at too many elements of this resource; send fewer operations in one patch,"
                " name elements by position instead of where(), or send the whole resource with PUT",
                code="too-costly",
            )

    def spend_values(self, value: object, times: int) -> None:
        """Spend `times` for each value inside `value`; stops to count where nothing is left."""
        pending = [value]
        while pending:
            one = pending.pop()
            if isinstance(one, dict):
                pending.extend(cast("Tree", one).values())
            elif isinstance(one, list):
                pending.extend(cast("list[object]", one))
            self.spend(times + (times * len(one) // _CHARACTERS_PER_STEP if isinstance(one, str) else 0))

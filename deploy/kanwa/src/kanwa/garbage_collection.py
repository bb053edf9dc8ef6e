"""When Python looks for objects that hold each other.

Everything else is freed by reference counting at once. CPython 3.11 looks after every 700 new containers, which a
single referral exceeds, and each look that reaches the oldest generation walks all of R4's definitions.
"""

import gc
from typing import Final

#: New containers before the youngest generation is looked at, and looks before each older one is: a process holds
#: a few megabytes more of dead cycles, at most, than with Python's own 700, 10, 10.
THRESHOLDS: Final = (50_000, 20, 20)


def collect_seldom() -> None:
    """Take all objects that are alive as here to stay, and look for dead cycles less often; call it once started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)

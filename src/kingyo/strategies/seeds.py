"""Seeds of a search's parts: islands, restarts, studies, controls; independent of each other and its own."""

from __future__ import annotations

import numpy as np


def derived(seed: int, part: int) -> int:
    """The seed, of 32 bits, of one part of what has this seed; both are 0 or more."""
    return int(np.random.SeedSequence([seed, part]).generate_state(1)[0])

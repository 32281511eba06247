"""How many layers a config speaks of, and where."""

from __future__ import annotations

import re
from collections.abc import Mapping

_COUNT = re.compile(r"(num_hidden_layers|num_layers|n_layers?|depth|num_blocks)")


def count_layers(config: Mapping[str, object]) -> int | None:
    """The number of layers that one level of a config states; None when it states none."""
    found = [value for key, value in config.items() if _COUNT.fullmatch(key) and isinstance(value, int)]
    return found[0] if found else None

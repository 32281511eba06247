"""Racing: a candidate is dropped when the scores so far say that it is not among the best.

The best K of a generation go on to all items. After each block of items, candidate i is dropped when at least
K others beat it by an exact one-sided sign test on the items that both were scored on, each at the level
α / (looks × (λ − K)).

**Error rate.** Let i be truly among the best K: at most K − 1 candidates are better. To be dropped it must
lose against K, so against one at least that is not better. There are λ − K of these or fewer to falsely lose
against, at each of the looks: by the union bound a candidate of the true best K is dropped with probability
at most α in a generation. (Racing: Maron & Moore 1994; irace: López-Ibáñez et al. 2016.)

"Better" is meant as the sign test sees it: right on more of the items where the two differ. Of scores that
are right or wrong that is the higher mean. Of scores in between it is not always: whoever loses narrowly on
most items and wins clearly on the others may be dropped, in spite of the higher mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def survivors(responses: Matrix, alive: Sequence[int], keep: int, level: float) -> list[int]:
    """Return who of the candidates that are alive goes on.

    Args:
        responses: candidates of the generation × items scored so far, without gaps for those alive.
        alive: rows of candidates not yet dropped.
        keep: K, how many are wanted; as many are alive at least.
        level: of one sign test.
    """
    stay: list[int] = []
    for i in alive:
        beaten = sum(_is_beaten(responses[i], responses[k], level) for k in alive if k != i)
        if beaten < keep:
            stay.append(i)
    return stay


def _is_beaten(one: NDArray[np.float64], other: NDArray[np.float64], level: float) -> bool:
    lost, won = int((other > one).sum()), int((one > other).sum())
    return lost > won and sign_test(won, lost + won) <= level


@cache
def sign_test(successes: int, n: int) -> float:
    """P(X ≤ successes) for n fair coins."""
    return sum(math.comb(n, k) for k in range(successes + 1)) / 2**n

"""Racing: drop candidates that are not among the best, as far as the scores so far show.

The best K of the λ candidates of a generation should be scored on all items. After each block of items,
candidate i is dropped if at least K others beat it by an exact one-sided sign test on the items scored so
far, each test at the level α / (looks × (λ − K)). There is no look after the last items. If fewer than K
would remain, the least beaten go on. (Racing: Maron & Moore 1994; irace: López-Ibáñez et al. 2016.)

**Error rate.** Each of the true best K is dropped with probability at most α per generation (any of them with
at most K α). Proof: let i be truly the r-th best, r ≤ K, so λ − r others are not better. To be dropped, i
must lose to K others, and so to at least K − r + 1 of these. It falsely loses to at most (λ − r) × level of
them on average. By Markov's inequality it is dropped at a look with probability at most
(λ − r) / (K − r + 1) × level, which is largest for r = K: (λ − K) × level. The union bound over the looks
gives α.

"Better" means right on more of the items where the two differ. The bound holds if items are drawn from fit
with equal probabilities, which is the default with racing. With ``choose: informative`` it holds for the
distribution of drawn items, not for all of fit. For scores of 0 and 1, better means a higher mean. For graded
scores it need not: a candidate that loses narrowly on most items and wins clearly on the others may be
dropped despite its higher mean, and "beats" may be cyclic.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def survivors(responses: Matrix, alive: Sequence[int], keep: int, level: float) -> list[int]:
    """Return the candidates that get more items.

    Args:
        responses: candidates of the generation × items scored so far, without gaps in the rows ``alive``.
        alive: rows of candidates not yet dropped, at least ``keep``.
        keep: K, the number of candidates to keep at least.
        level: level of one sign test.
    """
    beaten = {i: sum(is_beaten(responses[i], responses[k], level) for k in alive if k != i) for i in alive}
    fewest = sorted(alive, key=lambda i: (beaten[i], i))[:keep]
    return [i for i in alive if beaten[i] < keep or i in fewest]


def is_beaten(one: NDArray[np.float64], other: NDArray[np.float64], level: float) -> bool:
    """Return whether one is right on fewer items than the other, by a one-sided sign test at this level."""
    lost, won = int((other > one).sum()), int((one > other).sum())
    return lost > won and sign_test(won, lost + won) <= level


def sign_test(successes: int, n: int) -> float:
    """Return P(X ≤ successes) for n fair coins."""
    from scipy.special import bdtr  # pyright: ignore[reportMissingTypeStubs]

    return float(bdtr(successes, n, 0.5))

"""Racing: a candidate is dropped when the scores so far say that it is not among the best.

The best K of a generation shall go on to all items. After each block of items, candidate i is dropped when at
least K others beat it by an exact one-sided sign test on the items that both were scored on, each at the
level α / (looks × (λ − K)). The look after the last items spares nobody any, and is not counted.

**Error rate.** Let i be truly the r-th best of λ, with r ≤ K: λ − r others are not better. To be dropped it
must lose against K, so against K − r + 1 of these at least. It falsely loses against (λ − r) × level of them
on average, at most; so, by Markov's inequality, it is dropped at a look with a probability of at most
(λ − r) / (K − r + 1) × level, which is largest for r = K: (λ − K) × level. By the union bound over the looks
each candidate of the true best K is dropped with probability at most α in a generation (and any of them with
at most K α). (Racing: Maron & Moore 1994; irace: López-Ibáñez et al. 2016.)

"Better" is meant as the sign test sees it: right on more of the items where the two differ. The bound
holds where items are drawn from fit with equal chances: all of them, or at random, as they are beside a
rule unless ``choose: informative`` is asked for. Where items that tell more are drawn more often,
"better" is better on such a draw: a candidate that wins on items that are rarely drawn may be dropped,
though it is the better one on all of fit. Of scores that are right or wrong "better" is the higher mean.
Of scores in between it is not always: whoever loses narrowly on most items and wins clearly on the others
may be dropped, in spite of the higher mean; and candidates may beat one another in a circle.
Where fewer than K would be left, those go on that are beaten by the fewest.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    beaten = {i: sum(is_beaten(responses[i], responses[k], level) for k in alive if k != i) for i in alive}
    fewest = sorted(alive, key=lambda i: (beaten[i], i))[:keep]
    return [i for i in alive if beaten[i] < keep or i in fewest]


def is_beaten(one: NDArray[np.float64], other: NDArray[np.float64], level: float) -> bool:
    """Whether one is right on fewer items than the other, by a one-sided sign test at this level."""
    lost, won = int((other > one).sum()), int((one > other).sum())
    return lost > won and sign_test(won, lost + won) <= level


def sign_test(successes: int, n: int) -> float:
    """Return P(X ≤ successes) for n fair coins."""
    from scipy.special import bdtr  # pyright: ignore[reportMissingTypeStubs]

    return float(bdtr(successes, n, 0.5))

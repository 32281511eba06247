"""How a genetic algorithm picks a parent: roulette, tournament, rank. Scores in, an index out.

Each takes scores that are finite numbers, larger better (failures are sorted out before), and a random
source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

Selection = Callable[[Sequence[float], Random], int]


def roulette(scores: Sequence[float], rng: Random) -> int:
    """Pick with a probability proportional to the score.

    Scores are taken as they are when none is negative, so a score of zero is never picked beside a positive
    one. With a negative score among them, all are shifted until the worst is zero. When that leaves nothing
    to choose by (all zero, or all the same negative number), all are equally likely.
    """
    shift = min(0.0, *scores)
    return _wheel([score - shift for score in scores], rng)


def rank(scores: Sequence[float], rng: Random) -> int:
    """Pick with a probability proportional to the rank: 1 for the worst up to N for the best.

    Equal scores share the mean of their ranks. (Baker 1985, linear ranking, with 0 beyond the worst.)
    """
    below = [sum(other < score for other in scores) for score in scores]
    equal = [sum(other == score for other in scores) for score in scores]
    return _wheel([low + (same + 1) / 2 for low, same in zip(below, equal, strict=True)], rng)


def tournament(size: int) -> Selection:
    """Make a selection that draws ``size`` different candidates and picks the best of them.

    Among equals the first drawn wins. Fewer candidates than ``size`` all take part. (Goldberg and Deb 1991.)
    """

    def pick(scores: Sequence[float], rng: Random) -> int:
        drawn = rng.sample(range(len(scores)), min(size, len(scores)))
        return max(drawn, key=lambda index: scores[index])

    return pick


def pick_pair(scores: Sequence[float], select: Selection, rng: Random) -> tuple[int, int]:
    """Pick two different candidates: the second is selected among those that the first leaves.

    Raises:
        ValueError: fewer than two candidates.
    """
    if len(scores) < 2:
        raise ValueError(f"a pair needs two candidates or more, got {len(scores)}")
    one = select(scores, rng)
    two = select([*scores[:one], *scores[one + 1 :]], rng)
    return one, two + (two >= one)


def _wheel(weights: Sequence[float], rng: Random) -> int:
    if not any(weights):
        return rng.randrange(len(weights))
    return rng.choices(range(len(weights)), weights)[0]

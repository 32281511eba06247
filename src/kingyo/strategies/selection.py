"""Parent selection of genetic algorithms: roulette, tournament and rank.

A selection takes scores (finite, larger is better) and a random source, and returns an index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

Selection = Callable[[Sequence[float], Random], int]


def roulette(scores: Sequence[float], rng: Random) -> int:
    """Sample with probability proportional to the score.

    If a score is negative, all are shifted so that the worst is 0. If all weights are then 0, the choice is
    uniform.
    """
    shift = min(0.0, *scores)
    return _weighted_choice([score - shift for score in scores], rng)


def rank(scores: Sequence[float], rng: Random) -> int:
    """Sample with probability proportional to the rank, 1 for the worst to N for the best.

    Ties share the mean of their ranks. (Linear ranking, Baker 1985, with probability 0 below the worst.)
    """
    below = [sum(other < score for other in scores) for score in scores]
    equal = [sum(other == score for other in scores) for score in scores]
    return _weighted_choice(
        [n_lower + (n_equal + 1) / 2 for n_lower, n_equal in zip(below, equal, strict=True)], rng
    )


def tournament(size: int) -> Selection:
    """Return a selection that draws ``size`` different candidates and picks the best of them.

    Ties go to the first one drawn. If there are fewer than ``size`` candidates, all take part. (Goldberg and
    Deb 1991.)
    """

    def pick(scores: Sequence[float], rng: Random) -> int:
        sample = rng.sample(range(len(scores)), min(size, len(scores)))
        return max(sample, key=lambda index: scores[index])

    return pick


def pick_pair(scores: Sequence[float], select: Selection, rng: Random) -> tuple[int, int]:
    """Select two different candidates; the second selection excludes the first candidate.

    Raises:
        ValueError: fewer than two candidates.
    """
    if len(scores) < 2:
        raise ValueError(f"scores: expected two or more, received {len(scores)}")
    one = select(scores, rng)
    two = select([*scores[:one], *scores[one + 1 :]], rng)
    return one, two + (two >= one)


def _weighted_choice(weights: Sequence[float], rng: Random) -> int:
    if not any(weights):
        return rng.randrange(len(weights))
    return rng.choices(range(len(weights)), weights)[0]

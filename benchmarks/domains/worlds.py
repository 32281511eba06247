"""Made-up worlds in which sources bring skills, and too much of them breaks the model.

An item is answered in levels. Level l, worth ``values[l]``, needs a set of skills, and so do all levels below
it. A model has skill s for an item where

    θ_s(w) − d_s + ν φ_s(w) > 0,   θ_s(w) = b_s + Σ_k G_sk min(w_k / t_k, 1) − harm(w)
    harm(w) = h · max(0, ‖w / T‖ − 1) + Σ valleys

with weights w, an item's difficulty d_s ~ N(0, 1), and φ_s a smooth random function of the weights for each
item (random Fourier features), so that neighbouring merges answer most items alike and none is a fair coin.
T_k is how much of source k the model stands: below 0.6 for one that was trained too long, above 1 for a
well-behaved one. Numbers are drawn by the seed, so each seed is a world of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from domains.landscape import Landscape, Matrix

POOL = 240
SIZES = (60, 40, 140)
FEATURES = 48
HIGH = 1.5


@dataclass(frozen=True, kw_only=True)
class World:
    """The numbers of one world; see the module.

    Attributes:
        bias: b, one per skill.
        gain: G, skills × sources.
        enough: t, the weight at which a source has given what it can.
        tolerance: T, one per source.
        harm: h, in logits.
        needs: for each kind of item its levels: (value, skills).
        noise, length: ν in logits, and the length scale of φ.
        valley: (source, weight, width, depth) of a region where all skills are lost.
    """

    bias: Matrix
    gain: Matrix
    enough: Matrix
    tolerance: Matrix
    needs: tuple[tuple[tuple[float, tuple[int, ...]], ...], ...]
    harm: float = 12.0
    noise: float = 0.8
    length: float = 0.25
    valley: tuple[tuple[int, float, float, float], ...] = field(default=())

    def scorer(self, rng: Generator) -> Callable[[Matrix], Matrix]:
        """Draw the items, and return the function that scores points on them."""
        skills, sources = self.gain.shape
        difficulty = rng.standard_normal((skills, POOL))
        waves = rng.standard_normal((sources, FEATURES)) / self.length
        phases = rng.uniform(0, 2 * np.pi, FEATURES)
        mix = rng.standard_normal((FEATURES, skills * POOL)) * np.sqrt(2 / FEATURES)
        kind = rng.integers(0, len(self.needs), POOL)

        def score(points: Matrix) -> Matrix:
            theta = self._abilities(points)
            wobble = (np.cos(points @ waves + phases) @ mix).reshape(len(points), skills, POOL)
            has = theta[:, :, None] - difficulty + self.noise * wobble > 0
            return self._graded(has, kind)

        return score

    def _abilities(self, points: Matrix) -> Matrix:
        given = np.minimum(points / self.enough, 1.0)
        excess = np.maximum(np.linalg.norm(points / self.tolerance, axis=1) - 1, 0)
        lost = self.harm * excess
        for source, weight, width, depth in self.valley:
            lost = lost + depth * np.exp(-0.5 * ((points[:, source] - weight) / width) ** 2)
        return self.bias + given @ self.gain.T - lost[:, None]

    def _graded(self, has: NDArray[np.bool_], kind: NDArray[np.intp]) -> Matrix:
        found = np.zeros((has.shape[0], has.shape[2]))
        for number, levels in enumerate(self.needs):
            mine = kind == number
            passed = np.ones((has.shape[0], int(mine.sum())), dtype=bool)
            for value, skills in levels:
                passed &= has[:, list(skills)][:, :, mine].all(axis=1)
                found[:, mine] = np.where(passed, value, found[:, mine])
        return found


RIGHT = 1.0


def plateau(rng: Generator) -> World:
    """Knowledge in two over-trained sources, manners in a third; manners alone earn partial credit."""
    return World(
        bias=np.array([-5.0, -5.0, -4.0]),
        gain=np.array([[9.0, 0, -3.0], [0, 9.0, -3.0], [-1.0, -1.0, 10.0]]),
        enough=rng.uniform(0.4, 0.6, 3),
        tolerance=rng.uniform(0.65, 0.9, 3),
        needs=(((0.4, (2,)), (RIGHT, (0,))), ((0.4, (2,)), (RIGHT, (1,)))),
    )


def ridge(rng: Generator) -> World:
    """Two skills that fight each other: only a narrow ridge of mixtures has both."""
    fight = rng.uniform(5, 7)
    return World(
        bias=np.array([-1.0, -1.0]),
        gain=np.array([[fight + 4, -fight, 0.0], [-fight, fight + 4, 0.5]]),
        enough=rng.uniform(0.9, 1.4, 3),
        tolerance=rng.uniform(0.9, 1.4, 3),
        needs=(((RIGHT, (0, 1)),),),
        noise=0.5,
    )


def far(rng: Generator) -> World:
    """Sources that gain from weights above 1, and one that only harms."""
    return World(
        bias=np.array([-4.0, -4.0]),
        gain=np.array([[7.0, 0.0, -5.0], [0.0, 7.0, -5.0]]),
        enough=np.array([*rng.uniform(1.1, 1.4, 2), 0.8]),
        tolerance=np.array([2.2, 2.2, 1.5]),
        needs=(((RIGHT, (0, 1)),),),
    )


def deceptive(rng: Generator) -> World:
    """One parent solves half; every step from it leads down; the best mixture is without it."""
    return World(
        bias=np.array([-4.0, -4.0, -3.0]),
        gain=np.array([[9.0, 0.0, 0.0], [0.0, 8.0, 0.0], [0.0, 0.0, 8.0]]),
        enough=np.array([0.9, *rng.uniform(0.45, 0.7, 2)]),
        tolerance=np.array([1.1, *rng.uniform(0.8, 1.1, 2)]),
        needs=(((RIGHT, (0,)),), ((RIGHT, (1, 2)),), ((RIGHT, (1, 2)),), ((RIGHT, (1, 2)),)),
        valley=((0, 0.45, 0.25, 6.0),),
    )


def noisy(rng: Generator) -> World:
    """A broad optimum under heavy noise: each item flickers from merge to merge."""
    return World(
        bias=np.array([-3.0, -3.0]),
        gain=np.array([[4.5, 1.0, 0.5, -0.5], [0.5, 4.5, 0.5, -0.5]]),
        enough=rng.uniform(0.6, 1.0, 4),
        tolerance=rng.uniform(0.9, 1.3, 4),
        needs=(((RIGHT, (0, 1)),),),
        noise=2.5,
        length=0.08,
    )


def graded(rng: Generator) -> World:
    """Answers of many grades, as similarity measures give: ten levels of one skill each."""
    steps = tuple((round(0.1 * (level + 1), 1), (level,)) for level in range(10))
    rise = np.linspace(-1.0, -6.0, 10)
    gain = np.stack([np.linspace(3, 6, 10), np.linspace(1, 5, 10), np.linspace(0, -2, 10)], axis=1)
    return World(
        bias=rise,
        gain=gain,
        enough=rng.uniform(0.5, 1.0, 3),
        tolerance=rng.uniform(0.7, 1.2, 3),
        needs=(steps,),
        noise=0.5,
    )


def needle(rng: Generator) -> World:
    """Three skills at once, right or wrong: all known models are at zero."""
    return World(
        bias=np.array([-4.0, -4.0, -4.0]),
        gain=np.array([[10.0, -1.0, -1.0], [-1.0, 10.0, -1.0], [-1.0, -1.0, 10.0]]),
        enough=rng.uniform(0.45, 0.75, 3),
        tolerance=rng.uniform(0.75, 1.1, 3),
        needs=(((RIGHT, (0, 1, 2)),),),
        noise=0.5,
    )


def parent(rng: Generator) -> World:
    """One parent is as good as anything gets; the others only harm."""
    return World(
        bias=np.array([-2.0]),
        gain=np.array([[4.0, -2.0, -2.0]]),
        enough=np.array([1.0, 0.7, 0.7]),
        tolerance=np.array([1.6, *rng.uniform(0.5, 0.9, 2)]),
        needs=(((RIGHT, (0,)),),),
    )


def many(rng: Generator) -> World:
    """Eight sources: two of use, the others of none."""
    gain = np.zeros((2, 8))
    useful = rng.permutation(8)[:2]
    gain[0, useful[0]] = gain[1, useful[1]] = 9.0
    return World(
        bias=np.array([-4.0, -4.0]),
        gain=gain,
        enough=rng.uniform(0.5, 0.9, 8),
        tolerance=rng.uniform(0.7, 1.1, 8),
        needs=(((RIGHT, (0, 1)),),),
    )


WORLDS = {
    each.__name__: each for each in (plateau, ridge, far, deceptive, noisy, graded, needle, parent, many)
}


def world(kind: str, seed: int) -> Landscape:
    """Draw a world of a kind."""
    rng = np.random.default_rng([seed, 20])
    drawn = WORLDS[kind](rng)
    score = drawn.scorer(rng)
    n = drawn.gain.shape[1]
    return Landscape(
        name=f"worlds/{kind}",
        sources=tuple(f"s{k}" for k in range(n)),
        score=score,
        n_items=POOL,
        sizes=SIZES,
        high=HIGH,
    )

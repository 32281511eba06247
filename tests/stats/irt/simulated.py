"""Answers of models whose true abilities are known to the test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kingyo.stats.irt import sigmoid

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Abilities, difficulties (in logits), and what each model would answer to each item."""

    ability: Vector
    difficulty: Vector
    answers: Matrix

    def with_gaps(self, share: float, seed: int) -> Matrix:
        """Return the answers with a random share of them known."""
        mask = np.random.default_rng(seed).random(self.answers.shape) < share
        return np.where(mask, self.answers, np.nan)

    def in_generations(self, size: int, items: int, seed: int) -> Matrix:
        """Return the answers as a screen asks for them: a generation meets the same few items."""
        rng = np.random.default_rng(seed)
        known_answers: Matrix = np.full_like(self.answers, np.nan)
        for start in range(0, len(known_answers), size):
            chosen = rng.choice(len(self.difficulty), items, replace=False)
            known_answers[start : start + size, chosen] = self.answers[start : start + size, chosen]
        return known_answers


def simulated(n_trials: int, n_items: int, seed: int, hardest: float = 1.5) -> Truth:
    """Draw trials of ability N(0.3, 1) that answer items of difficulty N(0, hardest²)."""
    rng = np.random.default_rng(seed)
    ability, difficulty = rng.normal(0.3, 1.0, n_trials), rng.normal(0.0, hardest, n_items)
    return answering(ability, difficulty, rng)


def answering(ability: Vector, difficulty: Vector, rng: np.random.Generator) -> Truth:
    """Draw the answers of trials of these abilities to items of these difficulties."""
    chance = sigmoid(ability[:, None] - difficulty[None, :])
    return Truth(
        ability=ability,
        difficulty=difficulty,
        answers=(rng.random(chance.shape) < chance).astype(np.float64),
    )

"""Recorded tables as domains: merges that were not recorded answer as their neighbours did.

For each item, the chance to reach a level of its scores is interpolated between recorded merges by kernel
ridge regression (Matérn 5/2); its length and ridge have the least error when each merge in turn is left out.
Whether an item reaches the level is then drawn, once for all: by a smooth random function of the weights for
each item, so that neighbouring merges answer most items alike. Recorded merges score what they scored.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from domains.landscape import Landscape, Matrix
from domains.table import TABLES, Table
from kingyo.core.types import Genome

LENGTHS = (0.08, 0.12, 0.18, 0.27, 0.4, 0.6)  # in shares of an axis
RIDGES = (0.003, 0.03, 0.1, 0.3, 1.0)
MOST_LEVELS = 10
FEATURES = 48
WOBBLE = 0.15  # length of the random functions, in shares of an axis
SHARES = (0.3, 0.2, 0.5)  # of the pool: fit, validation, test


class Replay:
    """Scores merges by a table.

    Args:
        table: with recorded merges; the first rows are the known models.

    Attributes:
        length, ridge: of the interpolation.
        error: root mean square error of a left-out merge's mean score, on the 0 to 1 scale.
    """

    def __init__(self, table: Table) -> None:
        self._high = np.array([axis.high for axis in table.meta.axes])
        self._points = table.genomes.astype(np.float64) / self._high
        self._scores = table.scores / 100
        values = np.unique(self._scores)
        self._steps = values if len(values) <= MOST_LEVELS + 1 else np.linspace(0, 1, MOST_LEVELS + 1)
        fits = [(self._left_out(*pair), pair) for pair in itertools.product(LENGTHS, RIDGES)]
        (_, (self.length, self.ridge)) = min(fits)
        self._mean = np.stack([(self._scores >= step - 1e-9).mean(axis=0) for step in self._steps[1:]])
        gram = _matern(self._points, self._points, self.length)
        self._inverse = np.linalg.inv(gram + self.ridge * np.eye(len(gram)))
        self.error = self._error(gram)
        self._reached = np.stack(
            [
                (self._scores >= step - 1e-9) - mean
                for step, mean in zip(self._steps[1:], self._mean, strict=True)
            ]
        )
        rng = np.random.default_rng(11)
        self._waves = rng.standard_normal((self._points.shape[1], FEATURES)) / WOBBLE
        self._phases = rng.uniform(0, 2 * np.pi, FEATURES)
        mix = rng.standard_normal((FEATURES, self._scores.shape[1]))
        self._mix = mix / np.linalg.norm(mix, axis=0) * np.sqrt(2)
        self._rows = {
            tuple(np.round(point, 6)): row for point, row in zip(self._points, self._scores, strict=True)
        }

    def score(self, points: Matrix) -> Matrix:
        """Return points × items."""
        inside = np.clip(points / self._high, 0, 1)
        weights = _matern(inside, self._points, self.length) @ self._inverse
        luck = ndtr(np.cos(inside @ self._waves + self._phases) @ self._mix)
        found = np.full(luck.shape, self._steps[0])
        chance = np.ones(luck.shape)
        for place, gain in enumerate(np.diff(self._steps)):
            chance = np.minimum(chance, self._mean[place] + weights @ self._reached[place])
            found += gain * (luck < chance)
        for row, point in enumerate(inside):
            known = self._rows.get(tuple(np.round(point, 6)))
            found[row] = found[row] if known is None else known
        return np.clip(found, 0, 1)

    def _left_out(self, length: float, ridge: float) -> float:
        """Return the mean squared error of item scores of left-out merges, by Wahba's shortcut."""
        return float((self._residuals(_matern(self._points, self._points, length), ridge) ** 2).mean())

    def _residuals(self, gram: Matrix, ridge: float) -> Matrix:
        inverse = np.linalg.inv(gram + ridge * np.eye(len(gram)))
        centred = self._scores - self._scores.mean(axis=0)
        return (inverse @ centred) / np.diag(inverse)[:, None]

    def _error(self, gram: Matrix) -> float:
        return float(np.sqrt((self._residuals(gram, self.ridge).mean(axis=1) ** 2).mean()))


def _matern(a: Matrix, b: Matrix, length: float) -> Matrix:
    distance = np.sqrt(5 * ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)) / length
    return (1 + distance + distance**2 / 3) * np.exp(-distance)


def names() -> list[str]:
    """Return the names of all domains with a table."""
    return [
        f"{Table.load(path).meta.family.replace(' ', '-')}/{path.stem}"
        for path in sorted(TABLES.glob("*.npz"))
    ]


@cache
def replay(name: str) -> Landscape:
    """Open the domain of a table."""
    table = _table(name)
    return _landscape(name, table, Replay(table).score)


def live(name: str, models: Path) -> Landscape:
    """Open the same domain with the models in place of the table, to see how far the two are apart.

    Args:
        name: ``real/`` and the name of a table.
        models: the folder of SmolLM2 and its specialists; the text zoo is part of a clone.
    """
    from domains.record import OpenedDomain, every_domain

    recorded, grader = Path(name).name.rsplit("-", 1)
    opened, table = OpenedDomain(every_domain(models)[recorded]), _table(name)
    verdict = opened.domain.graders[grader]

    def score(points: Matrix) -> Matrix:
        return np.array([one(tuple(point.tolist())) for point in points])

    def one(genome: Genome) -> list[float]:
        found = opened.evaluate(genome).scores
        answers = [each.answer for each in found]
        return [each.score for each in found] if verdict is None else opened.regrade(verdict, answers)

    return replace(_landscape(name, table, score), best_seen=float(table.means.max()))


def _table(name: str) -> Table:
    return Table.load(TABLES / f"{Path(name).name}.npz")


def _landscape(name: str, table: Table, score: Callable[[Matrix], Matrix]) -> Landscape:
    pool = len(table.meta.items)
    fit, validation, test = (int(share * pool) for share in SHARES)
    return Landscape(
        name=name,
        sources=tuple(axis.name.split("/")[1] for axis in table.meta.axes),
        score=score,
        n_items=pool,
        sizes=(fit, validation, test),
        high=float(table.meta.axes[0].high),
        tasks=table.meta.item_tasks,
    )

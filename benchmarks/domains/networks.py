"""Small networks on scikit-learn's digits, fine-tuned apart and merged layer by layer.

A candidate takes about a millisecond, and has many genes: sources × layers. Each seed trains networks of its
own (a second or two).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from domains.landscape import Landscape, Matrix

LAYERS = (64, 48, 32, 24, 10)
POOL = 400
SIZES = (80, 60, 260)
HIGH = 1.5
Network = list[tuple[Matrix, Matrix]]
Changes = list[tuple[Matrix, Matrix]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the sources were trained on.

    Attributes:
        classes: digits that each source knows.
        turned: quarter turns of the pictures of each source; the task has pictures of all turns.
        steps: of fine-tuning; many make a source that merges badly.
        noise: sources that are random changes of the base.
        is_graded: the score is the probability of the right digit, not whether it is the likeliest.
    """

    classes: tuple[Sequence[int], ...]
    turned: tuple[int, ...] = ()
    steps: int = 150
    noise: int = 0
    is_graded: bool = False


ALL = tuple(range(10))
KINDS = {
    "classes": Kind(classes=((0, 1, 2, 3), (4, 5, 6), (7, 8, 9))),
    "overtrained": Kind(classes=((0, 1, 2, 3, 4), (5, 6, 7, 8, 9)), steps=1500),
    "turned": Kind(classes=(ALL, ALL, ALL), turned=(0, 1, 2)),
    "distractors": Kind(classes=((0, 1, 2, 3, 4), (5, 6, 7, 8, 9)), noise=3),
    "graded": Kind(classes=((0, 1, 2, 3), (4, 5, 6), (7, 8, 9)), is_graded=True),
}


def network(name: str, seed: int) -> Landscape:
    """Train base and sources of a kind, and return the domain of their merges."""
    kind = KINDS[name]
    rng = np.random.default_rng([seed, 30])
    pictures, digits = _digits(rng)
    base = _train(_fresh(rng), pictures[:40], digits[:40], 12, rng)
    sources = [
        _specialist(kind, index, base, pictures[:900], digits[:900], rng)
        for index in range(len(kind.classes))
    ]
    sources += [_scattered(base, sources[0], rng) for _ in range(kind.noise)]
    tests = slice(900, 900 + POOL)
    turns = rng.integers(0, len(kind.turned) or 1, POOL)
    asked = np.stack([_turned(each, int(k)) for each, k in zip(pictures[tests], turns, strict=True)])
    changes = _changes(base, sources)
    score = _scorer(base, changes, asked, digits[tests], is_graded=kind.is_graded)
    n, blocks = len(sources), len(LAYERS) - 1
    return Landscape(
        name=f"networks/{name}",
        sources=tuple(f"s{k}" for k in range(n)),
        score=score,
        loss=_loss(base, changes, asked, digits[tests]),
        n_items=POOL,
        sizes=SIZES,
        n_blocks=blocks,
        high=HIGH,
    )


def _digits(rng: Generator) -> tuple[Matrix, NDArray[np.intp]]:
    pictures, digits = load_digits(return_X_y=True)
    order = rng.permutation(len(digits))
    return np.asarray(pictures, dtype=np.float64)[order] / 16 - 0.3, np.asarray(digits, dtype=np.intp)[order]


def _turned(picture: Matrix, quarters: int) -> Matrix:
    return np.rot90(picture.reshape(8, 8), quarters).ravel()


def _fresh(rng: Generator) -> Network:
    return [(rng.standard_normal((a, b)) * np.sqrt(2 / a), np.zeros(b)) for a, b in pairwise(LAYERS)]


def _specialist(
    kind: Kind, index: int, base: Network, pictures: Matrix, digits: NDArray[np.intp], rng: Generator
) -> Network:
    mine = np.isin(digits, kind.classes[index])
    own, answers = pictures[mine], digits[mine]
    if kind.turned:
        own = np.stack([_turned(each, kind.turned[index]) for each in own])
    return _train(base, own, answers, kind.steps, rng)


def _scattered(base: Network, like: Network, rng: Generator) -> Network:
    """A source of no use: changes of the size of another's, in random directions."""
    return [
        tuple(
            b + np.linalg.norm(s - b) / np.sqrt(b.size) * rng.standard_normal(b.shape)
            for b, s in zip(x, y, strict=True)
        )  # type: ignore[misc]
        for x, y in zip(base, like, strict=True)
    ]


def _train(start: Network, pictures: Matrix, digits: NDArray[np.intp], steps: int, rng: Generator) -> Network:
    """Adam on the cross-entropy, batches of 64."""
    weights = [each.copy() for pair in start for each in pair]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    for step in range(1, steps + 1):
        rows = rng.integers(0, len(digits), 64)
        gradients = _gradients(weights, pictures[rows], digits[rows])
        for place, gradient in enumerate(gradients):
            first[place] += 0.1 * (gradient - first[place])
            second[place] += 0.001 * (gradient**2 - second[place])
            rate = 2e-3 / (1 - 0.9**step)
            weights[place] -= rate * first[place] / (np.sqrt(second[place] / (1 - 0.999**step)) + 1e-8)
    return list(zip(weights[::2], weights[1::2], strict=True))


def _gradients(weights: list[Matrix], x: Matrix, digits: NDArray[np.intp]) -> list[Matrix]:
    inputs = [x]
    for a, b in zip(weights[:-2:2], weights[1:-2:2], strict=True):
        inputs.append(np.maximum(inputs[-1] @ a + b, 0))
    chance = _softmax(inputs[-1] @ weights[-2] + weights[-1])
    chance[np.arange(len(digits)), digits] -= 1
    slope, found = chance / len(digits), list[Matrix]()
    for layer in reversed(range(len(inputs))):
        found = [inputs[layer].T @ slope, slope.sum(axis=0), *found]
        slope = (slope @ weights[2 * layer].T) * (inputs[layer] > 0)
    return found


def _softmax(logits: Matrix) -> Matrix:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def _changes(base: Network, sources: list[Network]) -> Changes:
    """Return of each block the changes of kernel and shift, stacked by source."""
    return [
        (
            np.stack([source[block][0] - kernel for source in sources]),
            np.stack([source[block][1] - shift for source in sources]),
        )
        for block, (kernel, shift) in enumerate(base)
    ]


def _merged(base: Network, changes: Changes, point: Matrix) -> Network:
    """Return the network of a point: sources × blocks, one after another."""
    weights = point.reshape(-1, len(base))
    return [
        (kernel + np.tensordot(own, by_kernel, 1), shift + own @ by_shift)
        for (kernel, shift), (by_kernel, by_shift), own in zip(base, changes, weights.T, strict=True)
    ]


def _loss(
    base: Network, changes: Changes, pictures: Matrix, digits: NDArray[np.intp]
) -> Callable[[Matrix, Sequence[int]], tuple[float, Matrix]]:
    def loss(point: Matrix, items: Sequence[int]) -> tuple[float, Matrix]:
        rows = list(items)
        layers = _merged(base, changes, point)
        weights = [each for pair in layers for each in pair]
        slopes = _gradients(weights, pictures[rows], digits[rows])
        genes = [
            np.tensordot(by_kernel, slopes[2 * block], 2) + by_shift @ slopes[2 * block + 1]
            for block, (by_kernel, by_shift) in enumerate(changes)
        ]
        x = pictures[rows]
        for kernel, shift in layers[:-1]:
            x = np.maximum(x @ kernel + shift, 0)
        chance = _softmax(x @ layers[-1][0] + layers[-1][1])[np.arange(len(rows)), digits[rows]]
        return -float(np.log(chance).mean()), np.stack(genes, axis=1).ravel()

    return loss


def _scorer(
    base: Network, changes: Changes, pictures: Matrix, digits: NDArray[np.intp], *, is_graded: bool
) -> Callable[[Matrix], Matrix]:
    def score(points: Matrix) -> Matrix:
        return np.stack([one(point) for point in points])

    def one(point: Matrix) -> Matrix:
        x = pictures
        for block, (kernel, shift) in enumerate(_merged(base, changes, point)):
            x = x @ kernel + shift
            x = np.maximum(x, 0) if block < len(base) - 1 else x
        if is_graded:
            return _softmax(x)[np.arange(len(digits)), digits]
        return (x.argmax(axis=1) == digits).astype(float)

    return score

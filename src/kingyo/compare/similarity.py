"""How alike streams are at two places of models: linear CKA and the mean cosine, over tokens, exactly.

A place is where a layer of a model is entered: place k is the input of layer k and the output of layer k - 1,
the last is what leaves the last layer. Tokens come batch by batch, as often as they are asked for; only sums
are kept. It knows no model, only what passes through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kingyo.errors import KingyoError

Floats = NDArray[np.float64]
Layer = tuple[str, int]
"""Name of a model, number of a layer."""
Measure = Literal["cosine", "cka"]
ROOM = 1 << 30
"""Bytes for products of streams, unless one pair of places alone takes more."""

_SAME = 1e-24
"""A variance that is so small beside the square of the mean is but rounding."""


@dataclass(frozen=True, kw_only=True)
class LayerSimilarity:
    """How alike the streams of some models are, place by place.

    Attributes:
        n_layers: name -> how many layers a model has, which is one place less.
        n_tokens: over which all is summed.
        width: of the stream.
        cka, cosine: [places, places], symmetric, model after model. NaN where a stream never changes, or
            is 0.
    """

    n_layers: Mapping[str, int]
    n_tokens: int
    width: int
    cka: Floats
    cosine: Floats

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers, model after model."""
        return tuple((name, k) for name, n in self.n_layers.items() for k in range(n))

    def of(self, measure: Measure) -> Floats:
        """One of both measures."""
        return self.cosine if measure == "cosine" else self.cka

    def place(self, name: str, k: int) -> int:
        """The row of a model's place k, which its layer k is entered at; of its last layer's output the last.

        Raises:
            ValueError: the model has no such place.
        """
        names = list(self.n_layers)
        if name not in self.n_layers or not 0 <= k <= self.n_layers[name]:
            raise ValueError(f"place: expected one of {dict(self.n_layers)}, received {k} of {name}")
        return sum(self.n_layers[each] + 1 for each in names[: names.index(name)]) + k

    def jump(self, left: Layer, entered: Layer, measure: Measure = "cosine") -> float:
        """How alike what leaves a layer is to what enters another: 1 for the layer that follows by itself."""
        row, column = self.place(left[0], left[1] + 1), self.place(*entered)
        return float(self.of(measure)[row, column])


def jumps(found: LayerSimilarity, measure: Measure = "cosine") -> dict[tuple[Layer, Layer], float]:
    """How plausible it is that a layer follows another, for every pair of them: a number from 0 to 1.

    It is the likeness of what leaves the first to what enters the second, so 1 where a model goes on by
    itself, and 0 where the streams have nothing in common, are opposed, or cannot be compared.
    """
    said = {
        (left, entered): found.jump(left, entered, measure)
        for left in found.layers
        for entered in found.layers
    }
    return {pair: 0.0 if np.isnan(value) else min(1.0, max(0.0, value)) for pair, value in said.items()}


def path_plausibility(
    found: LayerSimilarity, path: Sequence[Layer], frame: str, measure: Measure = "cosine"
) -> float:
    """How plausible a path is, from 0 to 1: the mean over its jumps and its two ends.

    The ends are the jump from the frame's embeddings to the first layer, and that from the last layer to what
    the frame's final norm expects. For scores of the zoo it was closer than jumps alone (docs/diff.md).
    """
    if not path:
        raise ValueError("path: expected at least one layer, received none")
    left = [found.place(frame, 0), *(found.place(name, k + 1) for name, k in path)]
    entered = [*(found.place(name, k) for name, k in path), found.place(frame, found.n_layers[frame])]
    said = np.nan_to_num(found.of(measure)[left, entered], nan=0.0)
    return float(np.clip(said, 0.0, 1.0).mean())


def nearest(found: LayerSimilarity, left: Layer, n: int, measure: Measure = "cosine") -> list[Layer]:
    """The layers whose input is most like the output of one, that which follows it by itself left out."""
    others = [each for each in found.layers if each != (left[0], left[1] + 1)]
    return sorted(others, key=lambda each: -np.nan_to_num(found.jump(left, each, measure), nan=-2.0))[:n]


def measure_likeness(
    n_layers: Mapping[str, int], batches: Callable[[], Iterable[Tensor]], room: int = ROOM
) -> LayerSimilarity:
    """Measure how alike streams are at all places.

    Linear CKA, equation (4) with the linear kernel, so by equation (1), in Kornblith et al. 2019, Similarity
    of Neural Network Representations Revisited, arXiv:1905.00414: ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖), of Frobenius
    norms, X and Y [tokens, width] with the mean of each column taken away. Sums are in float64. A pair of
    places takes width² numbers; where there is no room for all pairs the tokens are asked for again.

    Args:
        n_layers: name -> layers of a model, in the order of the places.
        batches: yields tensors [places, tokens, width], the same ones at each call.
        room: bytes for sums of products.

    Raises:
        KingyoError: less than two tokens, or numbers that are not finite.
    """
    n_places = sum(n + 1 for n in n_layers.values())
    means, cosine, n_tokens = _first_pass(batches(), n_places)
    width = means.shape[1]
    pairs = list(combinations_with_replacement(range(n_places), 2))
    norms = np.zeros((n_places, n_places))
    at_once = max(1, room // (8 * width**2))
    for first in range(0, len(pairs), at_once):
        for (i, j), product in _products(batches(), means, pairs[first : first + at_once]):
            norms[i, j] = norms[j, i] = product
    own = np.sqrt(np.diag(norms))
    own[own <= _SAME * n_tokens * means.square().sum(dim=1).numpy()] = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        cka = norms / np.outer(own, own)
    return LayerSimilarity(n_layers=dict(n_layers), n_tokens=n_tokens, width=width, cka=cka, cosine=cosine)


def _first_pass(batches: Iterable[Tensor], n_places: int) -> tuple[Tensor, Floats, int]:
    """The mean of each place, the mean cosine of each pair, and the number of tokens."""
    n_tokens, total = 0, torch.zeros(1)
    cosines = torch.zeros(n_places, n_places, dtype=torch.float64)
    for batch in batches:
        streams = batch.double()
        n_tokens += streams.shape[1]
        total = total + streams.sum(dim=1)
        directions = (streams / streams.square().sum(dim=2, keepdim=True).sqrt()).flatten(1)
        cosines += directions @ directions.T
    if n_tokens < 2:
        raise KingyoError(
            "items",
            expected="prompts of two tokens or more, behind the first of each",
            received=f"{n_tokens} in all",
            remedy="Give more items or longer ones: likeness is measured over tokens.",
        )
    if not bool(torch.isfinite(total).all()):
        raise KingyoError(
            "model",
            expected="finite streams",
            received="NaN or infinity",
            remedy="Leave this model out, or run it in float32: its numbers overflow, or hold NaN.",
        )
    return total / n_tokens, np.asarray((cosines / n_tokens).numpy()), n_tokens


def _products(
    batches: Iterable[Tensor], means: Tensor, pairs: Sequence[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], float]]:
    """‖YᵀX‖² of each pair of places."""
    width = means.shape[1]
    sums = torch.zeros(len(pairs), width, width, dtype=torch.float64)
    for batch in batches:
        streams = batch.double() - means[:, None]
        for (i, j), product in zip(pairs, sums, strict=True):
            product.addmm_(streams[i].T, streams[j])
    for pair, product in zip(pairs, sums, strict=True):
        yield pair, float(product.square().sum())

"""Similarity of residual streams at pairs of places of models: linear CKA and mean cosine over tokens.

Place k of a model is the input of layer k and the output of layer k − 1; the last place is the output of the
last layer. Tokens are processed in batches; only sums are kept.
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
Json = dict[str, object]
Layer = tuple[str, int]
"""Name of a model, number of a layer."""
Measure = Literal["cosine", "cka"]
MAX_BYTES = 1 << 30
"""Bytes for products of streams, unless one pair of places needs more."""

_CONSTANT = 1e-24
"""Variance relative to the squared mean below which a stream counts as constant (rounding errors)."""


@dataclass(frozen=True, kw_only=True)
class LayerSimilarity:
    """Similarity of streams, place by place.

    Attributes:
        n_layers: name -> number of layers; a model has one place more.
        n_tokens: number of tokens.
        width: width of the stream.
        cka: shape (places, places), symmetric, model after model; NaN if a stream is constant.
        cosine: the same shape; NaN if a stream is 0.
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
        """Return the matrix of a measure."""
        return self.cosine if measure == "cosine" else self.cka

    def place(self, name: str, k: int) -> int:
        """Return the row of place k of a model: the input of its layer k, or the output of its last layer."""
        names = list(self.n_layers)
        return sum(self.n_layers[other] + 1 for other in names[: names.index(name)]) + k

    def jump(self, left: Layer, right: Layer, measure: Measure = "cosine") -> float:
        """Return the similarity of the output of a layer to the input of another: 1 for its own successor."""
        row, column = self.place(left[0], left[1] + 1), self.place(*right)
        return float(self.of(measure)[row, column])


def nearest(similarity: LayerSimilarity, left: Layer, n: int, measure: Measure = "cosine") -> list[Layer]:
    """Return the n layers whose input is most similar to the output of a layer, without its own successor."""
    others = [layer for layer in similarity.layers if layer != (left[0], left[1] + 1)]
    return sorted(others, key=lambda layer: -np.nan_to_num(similarity.jump(left, layer, measure), nan=-2.0))[
        :n
    ]


def measure_similarity(
    n_layers: Mapping[str, int], batches: Callable[[], Iterable[Tensor]], max_bytes: int = MAX_BYTES
) -> LayerSimilarity:
    """Measure the similarity of streams at all pairs of places.

    Linear CKA is ‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) in Frobenius norms, with X and Y [tokens, width] centred by column:
    equation (4) with the linear kernel in Kornblith et al. 2019, Similarity of Neural Network Representations
    Revisited, arXiv:1905.00414. Sums are in float64. A pair of places needs width² numbers; if not all pairs
    fit, the batches are requested again.

    Args:
        n_layers: name -> number of layers, in the order of the places.
        batches: yields tensors [places, tokens, width], the same ones at each call.
        max_bytes: bytes for sums of products.

    Raises:
        KingyoError: fewer than two tokens, or numbers that are not finite.
    """
    n_places = sum(n + 1 for n in n_layers.values())
    means, cosine, n_tokens = _first_pass(batches(), n_places)
    width = means.shape[1]
    pairs = list(combinations_with_replacement(range(n_places), 2))
    norms = np.zeros((n_places, n_places))
    at_once = max(1, max_bytes // (8 * width**2))
    for first in range(0, len(pairs), at_once):
        for (i, j), product in _products(batches(), means, pairs[first : first + at_once]):
            norms[i, j] = norms[j, i] = product
    own = np.sqrt(np.diag(norms))
    own[own <= _CONSTANT * n_tokens * means.square().sum(dim=1).numpy()] = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        cka = norms / np.outer(own, own)
    return LayerSimilarity(n_layers=dict(n_layers), n_tokens=n_tokens, width=width, cka=cka, cosine=cosine)


def _first_pass(batches: Iterable[Tensor], n_places: int) -> tuple[Tensor, Floats, int]:
    """Return the mean of each place, the mean cosine of each pair, and the number of tokens."""
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
            expected="two tokens or more, without the first of each prompt",
            received=f"{n_tokens}",
            remedy="Use more items or longer ones.",
        )
    if not bool(torch.isfinite(total).all()):
        raise KingyoError(
            "model",
            expected="finite streams",
            received="NaN or infinity",
            remedy="Leave this model out, or run it in float32.",
        )
    return total / n_tokens, np.asarray((cosines / n_tokens).numpy()), n_tokens


def _products(
    batches: Iterable[Tensor], means: Tensor, pairs: Sequence[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], float]]:
    """Yield ‖YᵀX‖² of each pair of places."""
    width = means.shape[1]
    sums = torch.zeros(len(pairs), width, width, dtype=torch.float64)
    for batch in batches:
        streams = batch.double() - means[:, None]
        for (i, j), product in zip(pairs, sums, strict=True):
            product.addmm_(streams[i].T, streams[j])
    for pair, product in zip(pairs, sums, strict=True):
        yield pair, float(product.square().sum())


def similarity_record(models: Mapping[str, str], n_prompts: int, found: LayerSimilarity) -> Json:
    """Return all measurements as plain data; places are written ``ja.0``, undefined values are None."""
    places = [f"{name}.{k}" for name, n in found.n_layers.items() for k in range(n + 1)]
    return {
        "models": dict(models),
        "layers": dict(found.n_layers),
        "prompts": n_prompts,
        "tokens": found.n_tokens,
        "width": found.width,
        "places": places,
        "cka": _numbers(found.cka),
        "cosine": _numbers(found.cosine),
        "jumps": [
            {
                "from": f"{left[0]}.{left[1]}",
                "to": f"{right[0]}.{right[1]}",
                "cosine": _share(found.jump(left, right)),
                "cka": _share(found.jump(left, right, "cka")),
            }
            for left in found.layers
            for right in found.layers
        ],
    }


def _numbers(values: Floats) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]


def _share(value: float) -> float:
    """Return a similarity from 0 to 1; 0 if streams are opposed or not comparable."""
    return 0.0 if np.isnan(value) else min(1.0, max(0.0, value))

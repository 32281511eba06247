"""Similarity of streams as plain data, for ``--json`` and path searches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kingyo.compare.similarity import Floats, LayerSimilarity, jumps

Json = dict[str, object]


def similarity_record(models: Mapping[str, str], n_prompts: int, found: LayerSimilarity) -> Json:
    """Return all measurements; places are written ``ja.0``, undefined values are None.

    Args:
        models: name -> reference.
        n_prompts: number of prompts.
        found: the measured similarity.
    """
    places = [f"{name}.{k}" for name, n in found.n_layers.items() for k in range(n + 1)]
    by_cosine, by_cka = jumps(found), jumps(found, "cka")
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
            {"from": _layer_name(left), "to": _layer_name(right), "cosine": value, "cka": by_cka[left, right]}
            for (left, right), value in by_cosine.items()
        ],
    }


def _numbers(values: Floats) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]


def _layer_name(layer: tuple[str, int]) -> str:
    return f"{layer[0]}.{layer[1]}"

"""Likeness of streams as plain data, for ``--json`` and for whoever searches paths."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kingyo.compare.similarity import Floats, LayerSimilarity, jumps

Json = dict[str, object]


def likeness_record(models: Mapping[str, str], n_prompts: int, found: LayerSimilarity) -> Json:
    """Everything that was measured. Places are written ``ja.0``; None is what is not defined.

    Args:
        models: name -> reference.
        n_prompts: that were read.
        found: what was measured on them.
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
            {"from": _written(left), "to": _written(entered), "cosine": value, "cka": by_cka[left, entered]}
            for (left, entered), value in by_cosine.items()
        ],
    }


def _numbers(values: Floats) -> list[list[float | None]]:
    return [[None if np.isnan(each) else float(each) for each in row] for row in values]


def _written(layer: tuple[str, int]) -> str:
    return f"{layer[0]}.{layer[1]}"

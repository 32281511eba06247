"""Cache the text embeddings of a diffusion pipeline, which all candidates share.

A pipeline calls its own ``encode_prompt``. The callable here replaces it: it encodes each prompt alone, keeps
the result, and joins the results of a batch. Initial noise is not kept: it depends on almost all arguments of
a pipeline, through its scheduler, and takes a millisecond.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from kingyo.models.feature_store import Features, FeatureStore

Output = Sequence[Any]
"""Tensors, some with a first dimension per item, and None."""
_PROMPTS = ("prompt", "negative_prompt")


class CachedPrompts:
    """``encode_prompt`` of a pipeline, whose results are kept by prompt.

    Attributes:
        n_encoded: number of prompts that went through the text encoders.
    """

    def __init__(self, encode: Callable[..., Any], kept: FeatureStore) -> None:
        self._encode = encode
        self._signature = inspect.signature(encode)
        self._kept = kept
        self.n_encoded = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what ``encode_prompt`` returns for a batch of prompts."""
        arguments = self._signature.bind(*args, **kwargs).arguments
        lists = {name: each for name, each in arguments.items() if _is_prompts(name, each)}
        n = len(next(iter(lists.values()), ()))
        if not n or any(isinstance(each, Tensor) for each in arguments.values()):
            return self._compute(arguments, n)
        rest = {name: each for name, each in arguments.items() if name not in lists}
        rows = [{**rest, **{name: [each[i]] for name, each in lists.items()}} for i in range(n)]
        parts = [self._row(row) for row in rows]
        joined = _joined(parts)
        return self._compute(arguments, n) if joined is None else tuple(joined)

    def _row(self, arguments: Mapping[str, Any]) -> Output:
        key = ("prompt", repr(sorted(arguments.items())))
        features = self._kept.get(key)
        if features is None:
            features = _as_features(_as_tuple(self._compute(arguments, 1)))
            self._kept.put(key, features)
        return _as_output(features)

    def _compute(self, arguments: Mapping[str, Any], n: int) -> Any:
        self.n_encoded += n
        return self._encode(**arguments)


def _is_prompts(name: str, value: object) -> bool:
    return name.startswith(_PROMPTS) and isinstance(value, list)


def _as_tuple(output: Any) -> Output:
    return cast(Output, output) if isinstance(output, tuple) else (output,)


def _as_features(values: Output) -> Features:
    """Return tensors by position; None is left out, and ``n`` is the length."""
    named = {str(place): each for place, each in enumerate(values) if each is not None}
    return {**named, "n": torch.tensor(len(values))}


def _as_output(features: Features) -> Output:
    return tuple(features.get(str(place)) for place in range(int(features["n"])))


def _joined(parts: Sequence[Output]) -> Output | None:
    """Join the outputs of single items to that of a batch; None if their shapes differ.

    A tensor without a first dimension per item, such as positions, is the same for all.
    """
    columns: list[Any] = []
    for column in zip(*parts, strict=True):
        first = column[0]
        if not isinstance(first, Tensor) or first.shape[:1] != (1,):
            columns.append(first)
        elif any(each.shape != first.shape for each in column):
            return None
        else:
            columns.append(torch.cat(column))
    return tuple(columns)

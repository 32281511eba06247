"""Hypothesis strategies and comparisons for methods: small tensors, weights, values."""

from collections.abc import Sequence

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from kingyo.merging.kernels import to_tensor
from kingyo.merging.methods import METHODS, MethodValues, TensorContext, merge_tensor
from tests.merging.methods.definitions import Vector

CONTEXT = TensorContext(0, "model.layers.0.mlp.weight")
# Steps of 1/64 are exact in float32: signs and magnitudes are equal, or not, in both arithmetics.
entries = st.sampled_from([-1.0, 0.0, 1.0]) | st.integers(-128, 128).map(lambda i: i / 64)
densities = st.floats(0, 1)
shapes = st.sampled_from([(1,), (7,), (3, 5), (5, 3), (1, 4), (4, 1), (2, 3, 4), (2, 1, 3)])


def values(method: str, n: int, **given: float | bool | Sequence[float]) -> MethodValues:
    """Return values, with defaults; a single number applies to all sources."""
    shared: dict[str, float | bool] = {}
    per_source: dict[str, tuple[float, ...]] = {}
    params = {parameter.name: parameter for parameter in METHODS.get(method).params}
    assert set(given) <= set(params)
    for name, parameter in params.items():
        value = given.get(name, parameter.default)
        assert value is not None, f"{name} is missing"
        if parameter.per_source:
            per_source[name] = tuple(value) if isinstance(value, Sequence) else (float(value),) * n
        else:
            assert not isinstance(value, Sequence)
            shared[name] = value
    return MethodValues(shared=shared, per_source=per_source)


def run(
    method: str, sources: Sequence[Tensor], base: Tensor | None, **given: float | bool | Sequence[float]
) -> Tensor:
    """Merge with values, and defaults for the others."""
    return to_tensor(
        merge_tensor(METHODS.get(method), sources, base, values(method, len(sources), **given), CONTEXT)
    )


@st.composite
def models(
    draw: st.DrawFn,
    least: int = 2,
    most: int = 4,
    shape: st.SearchStrategy[tuple[int, ...]] | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """Draw a base and sources: vectors, or tensors of a drawn shape."""
    size = draw(shape) if shape is not None else (draw(st.integers(1, 24)),)
    n = int(np.prod(size))
    count = draw(st.integers(least, most))
    tensors = [
        torch.tensor(draw(st.lists(entries, min_size=n, max_size=n))).reshape(size) for _ in range(count + 1)
    ]
    return tensors[0], tensors[1:]


def wide(tensors: Sequence[Tensor]) -> list[Vector]:
    """Return tensors in float64."""
    return [tensor.numpy().astype(np.float64) for tensor in tensors]


def draw_weights(data: st.DataObject, n: int) -> tuple[float, ...]:
    """Draw weights that are exact in float32, some zero or negative."""
    steps = st.sampled_from([-0.5, 0.0, 0.25, 0.5, 1.0, 1.5])
    return tuple(data.draw(st.lists(steps, min_size=n, max_size=n)))


def assert_close(got: Tensor, expected: Vector, tolerance: float = 2e-5) -> None:
    """Assert equality up to rounding."""
    np.testing.assert_allclose(got.numpy(), expected, rtol=tolerance, atol=tolerance)

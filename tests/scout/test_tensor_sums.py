"""Sums over a tensor are those that numpy computes pair by pair."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from kingyo.merging.checkpoints import Checkpoint
from kingyo.scout.tensor_sums import NotFiniteError, TensorSums, measure_tensor
from tests.scout.weights import write

NAME = "model.layers.0.self_attn.q_proj.weight"


def models(folder: Path, tensors: Sequence[Tensor]) -> list[Checkpoint]:
    return [write(folder / f"{i}", {NAME: tensor}) for i, tensor in enumerate(tensors)]


def measure(folder: Path, tensors: Sequence[Tensor]) -> TensorSums:
    """The base is the first tensor."""
    base, *members = models(folder, tensors)
    return measure_tensor(NAME, members, base)


def directly(tensors: Sequence[Tensor]) -> dict[str, NDArray[np.float64]]:
    base, *weights = [tensor.double().numpy() for tensor in tensors]
    deltas = [each - base for each in weights]
    both = [[(a != 0) & (b != 0) for a in deltas] for b in deltas]
    found = {
        "products": [[(a * b).sum() for a in deltas] for b in deltas],
        "shared": [[each.sum() for each in row] for row in both],
        "opposed": [[(np.sign(a) * np.sign(b) < 0).sum() for a in deltas] for b in deltas],
        "equal": [[float((a == b).all()) for a in deltas] for b in deltas],
        "base_square": (base**2).sum(),
    }
    return {name: np.array(values, dtype=np.float64) for name, values in found.items()}


def check(got: TensorSums, want: dict[str, NDArray[np.float64]]) -> None:
    for name in ("shared", "opposed", "equal"):
        np.testing.assert_array_equal(getattr(got, name), want[name], name)
    for name in ("products", "base_square"):
        np.testing.assert_allclose(getattr(got, name), want[name], rtol=1e-12, atol=1e-12, err_msg=name)


def random_tensors(seed: int, shape: Sequence[int], n: int, dtype: torch.dtype) -> list[Tensor]:
    """A base, and changes of it where some numbers stay."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator)
    changes = [0.01 * torch.randn(shape, generator=generator) for _ in range(n)]
    stays = [torch.rand(shape, generator=generator) < 0.3 for _ in range(n)]
    changed = [base + change.masked_fill(stay, 0) for change, stay in zip(changes, stays, strict=True)]
    return [each.to(dtype) for each in (base, *changed)]


@given(
    seed=st.integers(0, 1000),
    shape=st.lists(st.integers(1, 20), max_size=3),
    n=st.integers(1, 4),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn]),
)
def test_sums_are_those_of_numpy(
    tmp_path_factory: pytest.TempPathFactory, seed: int, shape: list[int], n: int, dtype: torch.dtype
) -> None:
    tensors = random_tensors(seed, shape, n, dtype)
    got = measure(tmp_path_factory.mktemp("models"), tensors)
    check(got, directly(tensors))
    assert got.numbers == tensors[0].numel()
    check(TensorSums.from_bytes(got.to_bytes(), n), directly(tensors))


@pytest.mark.parametrize("shape", [(1500, 1000), (1_500_000,), (2, 900, 1000)])
def test_a_tensor_of_several_chunks(tmp_path: Path, shape: Sequence[int]) -> None:
    """Also with rows that are longer than a chunk, as experts in one tensor are."""
    tensors = random_tensors(1, shape, 2, torch.bfloat16)
    check(measure(tmp_path, tensors), directly(tensors))


def test_equal_task_vectors_in_other_dtypes(tmp_path: Path) -> None:
    base, one, two = random_tensors(2, (12, 12), 2, torch.bfloat16)
    got = measure(tmp_path, [base, one, two, one.float(), base, two.double()])
    assert got.equal.tolist() == [
        [1, 0, 1, 0, 0],
        [0, 1, 0, 0, 1],
        [1, 0, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 1, 0, 0, 1],
    ]
    nearly = one.double()
    nearly[0, 0] += 1e-12
    assert measure(tmp_path / "nearly", [base, one, nearly]).equal.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(tmp_path: Path, value: float) -> None:
    tensors = random_tensors(4, (9, 9), 3, torch.float16)
    tensors[2][3, 3] = value
    with pytest.raises(NotFiniteError) as caught:
        measure(tmp_path, tensors)
    assert (caught.value.tensor, caught.value.positions) == (NAME, [1])
    tensors[0][0, 0] = value
    with pytest.raises(NotFiniteError) as caught:
        measure(tmp_path / "base", tensors)
    assert caught.value.positions == [1, 3], "the base comes last"

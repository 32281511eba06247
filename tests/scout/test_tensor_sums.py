"""Sums over a tensor are those that numpy computes pair by pair."""

from __future__ import annotations

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
from kingyo.scout.tensor_sums import SKETCH, NotFiniteError, TensorSums, directions_of, measure_tensor
from tests.scout.weights import noise, write

NAME = "model.layers.0.self_attn.q_proj.weight"


def models(folder: Path, tensors: Sequence[Tensor]) -> list[Checkpoint]:
    return [write(folder / f"{i}", {NAME: tensor}) for i, tensor in enumerate(tensors)]


def measure(folder: Path, tensors: Sequence[Tensor], *, has_base: bool = True) -> TensorSums:
    """The base is the first tensor."""
    opened = models(folder, tensors)
    return measure_tensor(NAME, opened[has_base:], opened[0] if has_base else None)


def directly(tensors: Sequence[Tensor], *, has_base: bool = True) -> dict[str, NDArray[np.float64]]:
    weights = [tensor.double().numpy() for tensor in tensors]
    base = weights[0] if has_base else np.mean(weights, axis=0)
    deltas = [each - base for each in weights[has_base:]]
    both = [[(a != 0) & (b != 0) for a in deltas] for b in deltas]
    found = {
        "products": [[(a * b).sum() for a in deltas] for b in deltas],
        "shared": [[each.sum() for each in row] for row in both],
        "opposed": [[(np.sign(a) * np.sign(b) < 0).sum() for a in deltas] for b in deltas],
        "equal": [[float((a == b).all()) for a in deltas] for b in deltas],
    }
    if base.ndim == 2 and min(base.shape) > SKETCH:
        random = directions_of(base.shape[1]).double().numpy()
        bases = [np.linalg.qr(delta @ random)[0] for delta in deltas]
        found["overlap"] = [[((a.T @ b) ** 2).sum() / SKETCH for a in bases] for b in bases]
    return {name: np.array(values, dtype=np.float64) for name, values in found.items()} | {
        "base_square": np.array((base**2).sum())
    }


def check(got: TensorSums, want: dict[str, NDArray[np.float64]]) -> None:
    for name in ("shared", "opposed", "equal"):
        np.testing.assert_array_equal(getattr(got, name), want[name], name)
    for name in ("products", "base_square"):
        np.testing.assert_allclose(getattr(got, name), want[name], rtol=1e-12, atol=1e-12, err_msg=name)
    if "overlap" in want:
        np.testing.assert_allclose(got.overlap, want["overlap"], atol=2e-4)
    else:
        assert np.isnan(got.overlap).all()


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
    dtype=st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.float64]),
    has_base=st.booleans(),
)
def test_sums_are_those_of_numpy(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    shape: list[int],
    n: int,
    dtype: torch.dtype,
    has_base: bool,
) -> None:
    tensors = random_tensors(seed, shape, n, dtype)
    got = measure(tmp_path_factory.mktemp("models"), tensors, has_base=has_base)
    want = directly(tensors, has_base=has_base)
    if not has_base:  # a mean is rounded in another order, so numbers that should be 0 are not in both
        np.testing.assert_allclose(got.products, want["products"], rtol=1e-10, atol=1e-12)
        return
    want = (
        want if all((each != tensors[0]).any() for each in tensors[1:]) else want | {"overlap": got.overlap}
    )
    check(got, want)
    assert got.numbers == tensors[0].numel()


def test_a_tensor_of_several_chunks(tmp_path: Path) -> None:
    tensors = random_tensors(1, (1500, 1000), 2, torch.float32)
    check(measure(tmp_path, tensors), directly(tensors))
    check(
        measure(tmp_path / "flat", [each.flatten() for each in tensors]),
        directly([t.flatten() for t in tensors]),
    )


def test_rows_that_are_longer_than_a_chunk(tmp_path: Path) -> None:
    """Experts of a layer may be one tensor, whose rows are matrices."""
    tensors = random_tensors(6, (2, 900, 1000), 2, torch.bfloat16)
    check(measure(tmp_path, tensors), directly(tensors))


def test_eight_bits(tmp_path: Path) -> None:
    tensors = [each.to(torch.float8_e4m3fn) for each in random_tensors(7, (12, 12), 2, torch.float32)]
    check(measure(tmp_path, tensors), directly([each.float() for each in tensors]))


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


def test_subspaces_of_low_rank(tmp_path: Path) -> None:
    """Equal subspaces overlap by 1, as one inside another; orthogonal ones by 0. Noise does not count."""
    base = torch.randn((40, 30), generator=torch.Generator().manual_seed(0))
    rows = torch.linalg.qr(torch.randn((40, 8), generator=torch.Generator().manual_seed(1)))[0]
    columns = torch.randn((8, 30), generator=torch.Generator().manual_seed(2))
    changes = [
        rows[:, :4] @ columns[:4],
        rows[:, :4] @ columns[4:],
        rows[:, 4:] @ columns[:4],
        rows @ columns,
    ]
    got = measure(tmp_path, [base, *(base + change for change in changes)]).overlap
    np.testing.assert_allclose(got, [[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]], atol=1e-3)


def test_convolutions_have_subspaces_and_a_task_vector_of_0_has_none(tmp_path: Path) -> None:
    tensors = random_tensors(3, (16, 4, 3, 3), 2, torch.float32)
    got = measure(tmp_path, [*tensors, tensors[0]])
    check(
        measure(tmp_path / "matrix", [each.flatten(1) for each in tensors]),
        directly([each.flatten(1) for each in tensors]),
    )
    want = directly([each.flatten(1) for each in tensors])["overlap"]
    np.testing.assert_allclose(got.overlap[:2, :2], want, atol=2e-4)
    assert got.overlap[2].tolist() == [0, 0, 0]


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


def test_sums_come_back_from_bytes_and_without_some_members(tmp_path: Path) -> None:
    tensors = random_tensors(5, (10, 11), 3, torch.float32)
    sums = measure(tmp_path, tensors)
    again = TensorSums.from_bytes(sums.to_bytes(), 3)
    check(again, directly(tensors))
    check(again.only([0, 2]), directly([tensors[0], tensors[1], tensors[3]]))
    assert again.only([0, 2]).to_bytes() == TensorSums.from_bytes(again.only([0, 2]).to_bytes(), 2).to_bytes()


def test_noise_of_the_helper_is_repeatable() -> None:
    assert torch.equal(noise(3)[NAME], noise(3)[NAME])

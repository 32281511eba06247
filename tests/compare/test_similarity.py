"""Likeness of streams: against a direct computation, and what CKA does not see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kingyo.compare.similarity import LayerSimilarity, measure_similarity, nearest, similarity_record
from kingyo.errors import KingyoError

N, WIDTH = 37, 6
LAYERS = {"a": 2, "b": 1}
A0, A1, A2, B0, B1 = range(5)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def streams() -> Tensor:
    """Five places of correlated streams, far from centred."""
    own = normal(5, N, WIDTH, seed=0)
    return own + 0.7 * own[0] + 3 * normal(5, 1, WIDTH, seed=1)


def measure_similarity_of(states: Tensor, size: int = 10, room: int = 1 << 30) -> LayerSimilarity:
    return measure_similarity(LAYERS, lambda: states.split(size, dim=1), room)


def direct_cka(x: Tensor, y: Tensor) -> float:
    """CKA by its definition with kernels: HSIC of centred matrices of tokens × tokens."""
    h = np.eye(N) - np.ones((N, N)) / N
    k, m = (h @ (each @ each.T).numpy() @ h for each in (x, y))
    return float(np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m)))


@pytest.mark.parametrize(("room", "size"), [(1 << 30, N), (8 * WIDTH**2 * 4, 10), (1, 1)])
def test_similarity_matches_direct_computation_in_any_batches(size: int, room: int) -> None:
    states = streams()
    similarity = measure_similarity_of(states, size, room)
    assert (similarity.n_tokens, similarity.width) == (N, WIDTH)
    for i in range(5):
        for j in range(5):
            assert similarity.cka[i, j] == pytest.approx(direct_cka(states[i], states[j]), abs=1e-10)
            cosine = torch.nn.functional.cosine_similarity(states[i], states[j], dim=1).mean()
            assert similarity.cosine[i, j] == pytest.approx(float(cosine), abs=1e-12)
    assert 0.05 < similarity.cka[A1, B1] < 0.9


def test_with_little_memory_one_pair_is_held() -> None:
    """No room at all: a pass for each pair, and one for the means."""
    passes = 0

    def batches() -> Iterator[Tensor]:
        nonlocal passes
        passes += 1
        yield from streams().split(10, dim=1)

    measure_similarity(LAYERS, batches, 1)
    assert passes == 1 + 15
    passes = 0
    measure_similarity(LAYERS, batches)
    assert passes == 2


def test_cka_sees_neither_rotation_nor_scale_and_cosine_does() -> None:
    states = streams()
    rotation, _ = torch.linalg.qr(normal(WIDTH, WIDTH, seed=2))
    states[B0] = 3 * states[A1] @ rotation + normal(1, WIDTH, seed=3)
    states[B1] = 5 * states[A2]
    similarity = measure_similarity_of(states)
    assert similarity.cka[A1, B0] == pytest.approx(1, abs=1e-12)
    assert similarity.cosine[A1, B0] < 0.9
    assert similarity.cka[A2, B1] == pytest.approx(1, abs=1e-12)
    assert similarity.cosine[A2, B1] == pytest.approx(1, abs=1e-12)
    stretched = states.clone()
    stretched[B0] = states[A1] @ torch.diag(torch.arange(1.0, WIDTH + 1, dtype=torch.float64))
    assert measure_similarity_of(stretched).cka[A1, B0] < 0.99, "another map than a rotation is seen"
    assert np.diag(similarity.cka) == pytest.approx(np.ones(5), abs=1e-12)
    assert np.diag(similarity.cosine) == pytest.approx(np.ones(5), abs=1e-12)


def jumps(similarity: LayerSimilarity, measure: str = "cosine") -> dict[tuple[str, str], float]:
    record: Any = similarity_record({}, 1, similarity)
    return {(each["from"], each["to"]): each[measure] for each in record["jumps"]}


def test_a_jump_compares_output_and_next_input() -> None:
    states = streams()
    states[B0] = -states[A1]
    similarity = measure_similarity_of(states)
    values = jumps(similarity)
    assert len(values) == 9 and all(0 <= each <= 1 for each in values.values())
    assert values["a.0", "a.1"] == pytest.approx(1)
    assert values["a.0", "a.0"] == pytest.approx(max(0.0, similarity.cosine[A1, A0]))
    assert values["a.0", "b.0"] == 0, "opposed"
    assert jumps(similarity, "cka")["a.0", "b.0"] == pytest.approx(1)
    assert nearest(similarity, ("a", 0), 2, "cka")[0] == ("b", 0)
    assert ("a", 1) not in nearest(similarity, ("a", 0), 9), "what follows by itself is no news"


def test_a_constant_stream_has_no_similarity_and_no_plausibility() -> None:
    states = streams()
    states[B0] = 0
    similarity = measure_similarity_of(states)
    assert np.isnan(similarity.cka[A1, B0]) and np.isnan(similarity.cosine[A1, B0])
    assert jumps(similarity, "cka")["a.0", "b.0"] == jumps(similarity)["a.0", "b.0"] == 0
    assert nearest(similarity, ("a", 0), 9)[-1] == ("b", 0)


def test_an_unmeasurable_pair_is_an_error() -> None:
    with pytest.raises(KingyoError, match="received 1"):
        measure_similarity_of(streams()[:, :1])
    states = streams()
    states[A1, 3, 2] = float("nan")
    with pytest.raises(KingyoError, match="expected finite streams"):
        measure_similarity_of(states)

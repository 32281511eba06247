"""What follows from the sums: changes, near-duplicates, layers."""

from collections.abc import Sequence

import numpy as np
import pytest

from kingyo.scout.structure import Structure, structure_of
from kingyo.scout.tensor_sums import TensorSums

BASE = np.array([3.0, 4.0, 0.0, 0.0])


def sums(deltas: Sequence[Sequence[float]]) -> TensorSums:
    rows = np.array(deltas, dtype=np.float64)
    signs = np.sign(rows)
    both = np.abs(signs) @ np.abs(signs).T
    return TensorSums(
        numbers=rows.shape[1],
        base_square=float(BASE @ BASE),
        products=rows @ rows.T,
        shared=both,
        opposed=(both - signs @ signs.T) / 2,
        equal=np.array([[float((a == b).all()) for a in rows] for b in rows]),
    )


def structure(*deltas: Sequence[float]) -> Structure:
    names = [f"m{i}" for i in range(len(deltas))]
    return structure_of(names, [("block.0", sums(deltas))], len(deltas[0]))


def findings(found: Structure) -> list[str | None]:
    return [each.finding for each in found.members]


def test_lengths_changes_and_pairs() -> None:
    found = structure([3, 4, 0, 0], [3, -4, 0, 0], [0, 0, 5, 5])
    assert [each.norm for each in found.members] == pytest.approx([5, 5, 50**0.5])
    assert [each.change for each in found.members] == pytest.approx([1, 1, 2**0.5])
    assert found.cosines[0].tolist() == pytest.approx([1, -7 / 25, 0])
    assert found.conflicts[0].tolist()[:2] == [0, 0.5] and np.isnan(found.conflicts[0, 2])
    assert found.closest(0) == (2, 0) and found.closest(2) == (0, 0)
    assert found.mean_conflict(0) == 0.5 and found.mean_conflict(2) is None
    assert found.measured_share == 1


def test_shares_of_layers() -> None:
    one, two = sums([[1, 0], [2, 0]]), sums([[0, 3], [0, 1]])
    flat = sums([[1, 1], [1, 1]])
    found = structure_of(["a", "b"], [("block.0", one), ("block.1", two), ("block.1", flat)], 12)
    assert found.members[0].layers == pytest.approx({"block.0": 1 / 12, "block.1": 11 / 12})
    assert found.measured_share == 0.5


def test_near_duplicates_and_copies() -> None:
    found = structure(
        [1, 0, 0, 0], [1, 0.1, 0, 0], [1, 0, 0, 0], [1, 0.1, 0, 0], [1.2, 0, 0, 0], [0, 0, 1, 0]
    )
    near = "a near-duplicate of m0"
    assert findings(found) == [None, near, "a re-upload of m0", "a re-upload of m1", None, None]
    assert findings(structure([1, 0], [1, 0.15]))[1] is None, "cosine below 0.99"


def test_members_that_equal_the_base() -> None:
    found = structure([1, 0], [0, 0], [0, 0])
    assert findings(found) == [None, "equal to the base", "equal to the base"]
    assert found.members[1].layers == {} and found.closest(1) is None


def test_what_was_not_measured_may_differ() -> None:
    """A LoRA of one layer equals the base in all others."""
    deltas = [[1, 0], [0, 0], [0, 0], [1, 0]]
    half = structure_of(["a", "b", "c", "d"], [("block.0", sums(deltas))], 4)
    assert findings(half) == [None, None, None, "a near-duplicate of a"]


def test_json_has_members_and_pairs() -> None:
    found = structure([1, 0], [1, 1]).to_json()
    assert found["pairs"] == [
        {"models": ["m0", "m1"], "cosine": pytest.approx(0.5**0.5), "sign_conflict": 0.0}
    ]

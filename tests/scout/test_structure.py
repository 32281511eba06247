"""What follows from the sums: changes, near-duplicates, outliers, layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from kingyo.scout.structure import Structure, find_outliers, structure_of
from kingyo.scout.tensor_sums import TensorSums

BASE = np.array([3.0, 4.0, 0.0, 0.0])


def sums(deltas: Sequence[Sequence[float]], overlap: float = np.nan) -> TensorSums:
    rows = np.array(deltas, dtype=np.float64)
    signs = np.sign(rows)
    both = np.abs(signs) @ np.abs(signs).T
    n = len(rows)
    return TensorSums(
        numbers=rows.shape[1],
        base_square=float(BASE @ BASE),
        products=rows @ rows.T,
        shared=both,
        opposed=(both - signs @ signs.T) / 2,
        overlap=np.full((n, n), overlap),
        equal=np.array([[float((a == b).all()) for a in rows] for b in rows]),
    )


def structure(*deltas: Sequence[float], base: str | None = "base") -> Structure:
    names = [f"m{i}" for i in range(len(deltas))]
    return structure_of(names, base, [("block.0", sums(deltas))], len(deltas[0]))


def findings(found: Structure) -> list[tuple[str, ...]]:
    return [each.findings(has_base=found.base is not None) for each in found.members]


def test_lengths_changes_and_pairs() -> None:
    found = structure([3, 4, 0, 0], [3, -4, 0, 0], [0, 0, 5, 5])
    assert [each.norm for each in found.members] == pytest.approx([5, 5, 50**0.5])
    assert [each.change for each in found.members] == pytest.approx([1, 1, 2**0.5])
    assert found.cosines[0].tolist() == pytest.approx([1, -7 / 25, 0])
    assert found.conflicts[0].tolist()[:2] == [0, 0.5] and np.isnan(found.conflicts[0, 2])
    assert found.closest(0) == (2, 0) and found.closest(2) == (0, 0)
    assert found.mean_conflict(0) == 0.5 and found.mean_conflict(2) is None
    assert found.measured_share == 1 and np.isnan(found.overlaps).all()


def test_shares_of_layers_and_weighted_overlaps() -> None:
    one, two = sums([[1, 0], [2, 0]], 0.5), sums([[0, 3], [0, 1]], 1.0)
    flat = sums([[1, 1], [1, 1]])
    found = structure_of(["a", "b"], "base", [("block.0", one), ("block.1", two), ("block.1", flat)], 12)
    assert found.members[0].layers == pytest.approx({"block.0": 1 / 12, "block.1": 11 / 12})
    assert found.overlaps[0, 1] == pytest.approx((2 * 0.5 + 3 * 1.0) / 5)
    assert found.measured_share == 0.5


def test_near_duplicates() -> None:
    found = structure([1, 0, 0, 0], [1, 0.1, 0, 0], [1, 0, 0, 0], [1.2, 0, 0, 0], [0, 0, 1, 0])
    assert findings(found) == [
        (),
        ("a near-duplicate of m0",),
        ("a re-upload of m0",),
        (),
        (),
    ]
    assert [each.duplicate_of for each in found.members] == [None, "m0", "m0", None, None]
    assert structure([1, 0], [1, 0.15]).members[1].duplicate_of is None, "cosine below 0.99"


def test_a_re_upload_names_the_model_that_it_equals() -> None:
    found = structure([1, 0, 0, 0], [1, 0.1, 0, 0], [1, 0.1, 0, 0])
    assert findings(found)[2] == ("a re-upload of m1",)


def test_members_that_equal_the_base() -> None:
    found = structure([1, 0], [0, 0], [0, 0])
    assert findings(found) == [(), ("equal to the base",), ("equal to the base",)]
    assert found.members[1].layers == {} and found.closest(1) is None
    assert found.to_json()["members"][1]["closest_cosine"] is None  # type: ignore[index]


def test_what_was_not_measured_may_differ() -> None:
    """A LoRA of one layer equals the base in all others."""
    deltas = [[1, 0], [0, 0], [0, 0], [1, 0]]
    half = structure_of(["a", "b", "c", "d"], "base", [("block.0", sums(deltas))], 4)
    assert findings(half) == [(), (), (), ("a near-duplicate of a",)]


def test_equal_members_without_a_base() -> None:
    assert findings(structure([0, 0], [0, 0], base=None)) == [(), ("a re-upload of m0",)]


def test_outliers() -> None:
    assert find_outliers([1, 1.1, 0.9, 1.2, 5]) == [None] * 4 + ["far"]
    assert find_outliers([1, 1.1, 0.9, 1.2, 0.1]) == [None] * 4 + ["near"]
    assert find_outliers([1, 1, 1, 1.9]) == [None] * 4, "less than a factor of 2"
    assert find_outliers([1, 4, 16, 64, 256]) == [None] * 5, "they are all far apart"
    assert find_outliers([1, 1, 9]) == [None] * 3, "too few others"
    assert find_outliers([0, 1, 1, 1, 9]) == [None, None, None, None, "far"]


def test_outliers_in_words() -> None:
    deltas = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [9, 9, -9, 9]]
    assert findings(structure(*deltas))[4] == ("far from the base: perhaps over-trained",)
    assert findings(structure(*deltas, base=None))[4] == ("far from the mean of all",)
    assert findings(structure(*deltas[:4], [0.01, 0, 0, -0.01]))[4] == ("hardly changed",)


def test_json_has_members_and_pairs() -> None:
    found = structure([1, 0], [1, 1]).to_json()
    assert found["task_vectors_from"] == "base"
    assert found["pairs"] == [
        {
            "models": ["m0", "m1"],
            "cosine": pytest.approx(0.5**0.5),
            "sign_conflict": 0.0,
            "subspace_overlap": None,
        }
    ]
    assert structure([1, 0], [1, 1], base=None).to_json()["task_vectors_from"] == "the mean of the members"

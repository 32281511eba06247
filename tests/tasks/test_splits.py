"""Splits are disjoint, complete and stable."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.core.types import SPLITS, Item
from kingyo.errors import KingyoError
from kingyo.tasks import Sizes, make_splits


def items(n: int) -> list[Item]:
    return [Item(id=str(i), prompt=f"prompt {i}", answer=str(i)) for i in range(n)]


def prompts(splits) -> dict[str, list[str]]:
    return {split: [item.prompt for item in splits[split]] for split in SPLITS}


shares = st.floats(0.05, 0.9)


@given(n=st.integers(30, 300), fit=shares, validation=shares, seed=st.integers(0, 5))
def test_shares(n: int, fit: float, validation: float, seed: int) -> None:
    total = fit + validation + 0.3
    sizes = Sizes(fit=fit / total, validation=validation / total, test=0.3 / total, seed=seed)
    splits = make_splits(items(n), sizes)
    ids = [item.id for split in SPLITS for item in splits[split]]
    assert len(ids) == len(set(ids)) == n
    for split in SPLITS:
        assert abs(len(splits[split]) - n * getattr(sizes, split)) <= 1


def test_one_more_row_moves_almost_no_item() -> None:
    before, after = prompts(make_splits(items(200))), prompts(make_splits(items(201)))
    moved = sum(len(set(before[split]) - set(after[split])) for split in SPLITS)
    assert moved <= 2


def placed(*splits: str) -> list[Item]:
    return [
        Item(id=str(i), prompt=f"prompt {i}", answer="", fields={"part": each, "note": "x"})
        for i, each in enumerate(splits)
    ]


def test_a_column_can_assign_the_splits() -> None:
    splits_ = make_splits(placed("test", "fit", "validation", "fit", "test"), Sizes(column="part"), seed=5)
    assert {split: [item.id for item in split_items] for split, split_items in splits_.items()} == {
        "fit": ["1", "3"],
        "validation": ["2"],
        "test": ["0", "4"],
    }


@pytest.mark.parametrize(
    ("splits", "column", "message"),
    [
        (("fit", "train", "test"), "part", "splits.column: part: .*received 'train' .*'prompt 1'"),
        (("fit", "", "test"), "part", "splits.column: part: .*received '' .*'prompt 1'"),
        (("fit", "Validation", "test"), "part", "received 'Validation'"),
        (("fit", "fit", "test"), "part", "splits.validation: .* part .*received none"),
        (("fit", "validation", "test"), "prat", r"splits.column: prat: .* Did you mean 'part'\?"),
    ],
)
def test_a_column_that_does_not_say_it(splits: tuple[str, ...], column: str, message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        make_splits(placed(*splits), Sizes(column=column))


def test_a_column_excludes_other_split_settings() -> None:
    with pytest.raises(ValueError, match="either column, or sizes and seed"):
        Sizes(column="part", fit=3)


@pytest.mark.parametrize(
    ("n", "sizes", "message"),
    [
        (0, Sizes(), "splits.fit: .*received 0.5 of 0 items"),
        (1, Sizes(), "splits.fit|splits.validation|splits.test"),
        (
            10,
            Sizes(fit=8, validation=2, test=1),
            r"splits: .* 10 .*fit 8 \+ validation 2 \+ test 1 = 11",
        ),
        (10, Sizes(fit=8), r"fit 8 \+ validation 0.25 \+ test 0.25"),
        (100, Sizes(fit=0.5, validation=0.4, test=0.2), r"splits: .*fit 0.5 \+ validation 0.4"),
        (100, Sizes(test=0.001), "splits.test: .*received 0.001 of 100"),
    ],
)
def test_too_few_items(n: int, sizes: Sizes, message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        make_splits(items(n), sizes)

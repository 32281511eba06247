"""The matrix of a search: it grows, and unscored items are gaps."""

import numpy as np

from kingyo.stats.irt import Responses
from kingyo.stats.irt.item_tasks import group_items

ITEMS = ["x", "y", "z"]


def test_scores_come_in_parts_and_gaps_stay() -> None:
    responses = Responses(ITEMS)
    responses.add(5, {"y": 0.5})
    responses.add(-1, {"x": 1.0, "y": 0.0, "z": 0.25})
    responses.add(5, {"x": 1.0})
    assert responses.latest(500) == [5, -1]
    np.testing.assert_array_equal(
        responses.matrix([-1, 5, 77]), [[1.0, 0.0, 0.25], [1.0, 0.5, np.nan], [np.nan] * 3]
    )
    assert responses.latest(500) == [5, -1], "to look at a trial does not add it"
    responses.matrix([-1])[0, 0] = 9.0
    assert responses.matrix([-1])[0, 0] == 1.0, "it is a copy"


def test_it_grows_as_often_as_needed() -> None:
    responses = Responses(ITEMS)
    for key in range(300):
        responses.add(key, {ITEMS[key % 3]: key / 300})
    assert responses.latest(500) == list(range(300))
    responses_matrix = responses.matrix(range(300))
    assert responses_matrix.shape == (300, responses.n_items) == (300, 3)
    assert np.isnan(responses_matrix).sum() == 600
    np.testing.assert_array_equal(np.nansum(responses_matrix, axis=1), np.arange(300) / 300)


def test_a_fit_is_cached_until_scores_are_added() -> None:
    responses = Responses(ITEMS)
    for key in range(4):
        responses.add(key, {"x": float(key > 1), "y": 0.5})
    assert responses.latest(2) == [2, 3]
    responses_matrix, matrix = responses.fitted([0, 3], [0, 1])
    assert matrix.tolist() == [[0.0, 0.5], [1.0, 0.5]]
    assert responses.fitted([0, 3], [0, 1])[0] is responses_matrix
    assert responses.fitted([0, 3], [0])[0] is not responses_matrix
    before = responses.fitted([0, 3], [0, 1])[0]
    responses.add(3, {"z": 1.0})
    after = responses.fitted([0, 3], [0, 1])[0]
    assert after is not before
    assert after.ability.tolist() == responses_matrix.ability.tolist(), "nothing of it was changed"


# ---- items are divided by what models are good at


def rows(*digits: str) -> list[dict[str, float]]:
    return [{f"i{n:02}": float(digit) for n, digit in enumerate(row)} for row in digits]


def test_items_are_divided_among_specialists() -> None:
    two = group_items(rows("1110000000" * 2, "0001100000" * 2, "0000000000" * 2))
    assert two == [["i00", "i01", "i02", "i10", "i11", "i12"], ["i03", "i04", "i13", "i14"]]
    three = group_items(rows("11110000100" * 2, "00001100000" * 2, "00000011000" * 2, "10000000000" * 2))
    assert sorted(map(len, three)) == [4, 4, 10]
    better = group_items(rows("1110000000" * 2, "0001110000" * 2, "1111111111" * 2))
    assert sorted(map(len, better)) == [6, 6], "one that is better than both leaves them as they are"
    shared = [{**row, f"own{n}": 1.0} for n, row in enumerate(rows("11110" * 3, "00111" * 3))]
    assert [len(group) for group in group_items(shared)] == [6, 3], "only items that all have count"
    assert group_items(rows("11110", "00111")) == [] and group_items([]) == [], "too few"


def test_other_items_are_divided_by_the_best_models_score() -> None:
    best = [f"i{ten}{one}" for ten in range(2) for one in range(4)]
    assert group_items(rows("1111000000" * 2, "1110000000" * 2)) == [best], (
        "one is right wherever the other is"
    )
    assert group_items(rows("0000100000" * 2, "1111000000" * 2)) == [best], "1 of 10 is less than 15%"
    assert group_items(rows("1111000000" * 2)) == [best]
    assert group_items(rows("1" * 20)) == [] and group_items(rows("0" * 20)) == []
    assert group_items(rows("1" + "0" * 19)) == [], "less than 10%"

"""The matrix of a search: it grows, and unscored items are gaps."""

from __future__ import annotations

import numpy as np

from kingyo.stats.irt import Responses

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


def test_it_grows_as_often_as_needed() -> None:
    responses = Responses(ITEMS)
    for key in range(300):
        responses.add(key, {ITEMS[key % 3]: key / 300})
    assert responses.latest(500) == list(range(300))
    responses_matrix = responses.matrix(range(300))
    assert responses_matrix.shape == (300, responses.n_items) == (300, 3)
    assert np.isnan(responses_matrix).sum() == 600
    np.testing.assert_array_equal(np.nansum(responses_matrix, axis=1), np.arange(300) / 300)


def test_results_are_copies() -> None:
    responses = Responses(ITEMS)
    responses.add(0, {"x": 1.0})
    responses.matrix([0])[0, 0] = 9.0
    assert responses.matrix([0])[0, 0] == 1.0


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

"""Places on the map of a scout."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from kingyo.report.scout_places import (
    APART,
    MARGIN,
    NEAR,
    WIDTH,
    Floats,
    height_of,
    in_pixels,
    name_places,
    scaled,
    similarity_of_scores,
)


def cosines_of(vectors: Floats) -> Floats:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


def test_vectors_on_a_plane_keep_their_distances() -> None:
    angles = np.array([0.0, 0.3, 1.5, 4.0])
    unit = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    places = scaled(cosines_of(unit))
    assert places.share == pytest.approx(1.0)
    for i, j in combinations(range(4), 2):
        assert math.dist(places.points[i], places.points[j]) == pytest.approx(math.dist(unit[i], unit[j]))


def test_of_many_unrelated_vectors_a_plane_shows_little() -> None:
    places = scaled(cosines_of(np.random.default_rng(0).normal(size=(40, 2000))))
    assert 2 / 39 < places.share < 0.15


def test_the_axes_do_not_depend_on_signs() -> None:
    vectors = np.random.default_rng(1).normal(size=(6, 3))
    points = scaled(cosines_of(vectors)).points
    assert points.max(axis=0) == pytest.approx(np.abs(points).max(axis=0))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_or_equal_models_have_places(n: int) -> None:
    for similarity in (np.ones((n, n)), np.eye(n), np.full((n, n), np.nan)):
        assert np.isfinite(in_pixels(scaled(similarity).points)).all()


def test_scores_are_alike_by_their_shared_items() -> None:
    similarity = similarity_of_scores([{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 0.0, "c": 1.0}, {"d": 1.0}])
    assert similarity[0, 1] == similarity[1, 0] == 0.75
    assert similarity[0, 0] == 1.0 and np.isnan(similarity[0, 2])


@pytest.mark.parametrize("n", [2, 12, 60])
def test_models_at_the_same_place_are_side_by_side_on_the_map(n: int) -> None:
    points = in_pixels(np.concatenate([np.zeros((n, 2)), [[1.0, 0.2]]]))
    gaps = [math.dist(one, other) for one, other in combinations(points, 2)]
    assert min(gaps) > NEAR and max(gaps) > 8 * APART
    assert points.min() >= MARGIN - 1e-6 and points[:, 0].max() <= WIDTH - MARGIN + 1e-6


def test_names_are_beside_their_points_and_the_first_come_first() -> None:
    points = np.array([[200.0, 100.0], [230.0, 100.0], [230.0, 104.0]])
    names = ["first", "second", "a name that is longer than all of the map " * 5]
    places = name_places(points, [4.0, 4.0, 4.0], names)
    assert places[0][0] < 200, "its right side is taken by the second point"
    assert places[1] == pytest.approx((230 + 4 + 4 + 6.4 * 6 / 2, 100))
    assert 2 not in places
    assert all(0 <= y <= height_of(points) for _, y in places.values())

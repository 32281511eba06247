"""Places of candidates on a plane, by how similar they are, and of their names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Point = tuple[float, float]
Box = tuple[float, float, float, float]

WIDTH, HEIGHT, MARGIN = 940, 420, 60
"""Greatest size of the map, and its margin, in pixels."""
NEAR, APART = 9.0, 28.0
"""Points that are nearer are drawn side by side, so far from one another."""
LETTER, LINE, GAP = 6.4, 14.0, 4.0
"""Width and height of a letter, and the space around points, in pixels."""
_TURN = math.pi * (3 - math.sqrt(5))  # of Vogel's sunflower


@dataclass(frozen=True, kw_only=True)
class Places:
    """Places with the shape (models, 2), and the share of all differences that they show."""

    points: Floats
    share: float


def scaled(similarity: Floats) -> Places:
    """Return places such that squared distances are near 2 (1 − similarity).

    This is classical multidimensional scaling (Torgerson 1952, Multidimensional scaling: I). For cosines
    these are the distances of vectors of length 1.

    Args:
        similarity: shape (models, models), 1 on the diagonal; NaN counts as 0.
    """
    n = len(similarity)
    centring = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(centring @ np.nan_to_num(similarity) @ centring)
    values = np.clip(values[::-1], 0, None)
    points = (vectors[:, ::-1] * np.sqrt(values))[:, :2]
    largest = points[np.abs(points).argmax(axis=0), np.arange(points.shape[1])]
    points = np.pad(points * np.where(largest < 0, -1, 1), ((0, 0), (0, 2 - points.shape[1])))
    total = float(values.sum())
    return Places(points=points, share=float(values[:2].sum()) / total if total > 0 else 1.0)


def similarity_of_scores(scores: Sequence[Mapping[str, float]]) -> Floats:
    """Return 1 − half the mean squared difference of item scores for each pair; NaN without shared items."""
    n = len(scores)
    similarity = np.eye(n)
    for i in range(n):
        for j in range(i):
            shared = scores[i].keys() & scores[j].keys()
            gaps = [(scores[i][item] - scores[j][item]) ** 2 for item in shared]
            similarity[i, j] = similarity[j, i] = 1 - math.fsum(gaps) / len(gaps) / 2 if gaps else np.nan
    return similarity


def in_pixels(points: Floats) -> Floats:
    """Return points on the map, with equal units on both axes; near ones are drawn side by side."""
    return _fitted(_side_by_side(_fitted(points, np.inf)), 1.0)


def _fitted(points: Floats, largest: float) -> Floats:
    """Scale points to the room of the map, at most by a factor, and move them to its middle and top."""
    low, high = points.min(axis=0), points.max(axis=0)
    room = np.array([WIDTH, HEIGHT]) - 2.0 * MARGIN
    wide = high > low
    factor = min(largest, float((room[wide] / (high - low)[wide]).min())) if wide.any() else 1.0
    left = (WIDTH - (high - low)[0] * factor) / 2
    return (points - low) * factor + np.array([left, MARGIN])


def _side_by_side(points: Floats) -> Floats:
    groups: list[list[int]] = []
    for i, point in enumerate(points):
        near = (group for group in groups if math.dist(points[group[0]], point) < NEAR)
        group = next(near, None)
        if group is None:
            groups.append([i])
        else:
            group.append(i)
    moved = points.copy()
    for group in groups:
        for k, i in enumerate(group):
            angle, reach = k * _TURN, APART * math.sqrt(k)
            moved[i] = points[group[0]] + reach * np.array([math.cos(angle), math.sin(angle)])
    return moved


def height_of(points: Floats) -> float:
    """Return the height that the map needs, in pixels."""
    return float(points[:, 1].max()) + MARGIN


def name_places(points: Floats, radii: Sequence[float], names: Sequence[str]) -> dict[int, Point]:
    """Return the centre of each name that fits beside, under or above its point.

    Args:
        points: in pixels.
        radii: of the points.
        names: earlier ones are placed first, at the index of their point.
    """
    taken: list[Box] = [_box(point, 2 * r, 2 * r) for point, r in zip(points, radii, strict=True)]
    places: dict[int, Point] = {}
    for i, name in enumerate(names):
        width, others = LETTER * len(name), [*taken[:i], *taken[i + 1 :]]
        for middle in _beside(points[i], radii[i], width):
            box = _box(middle, width, LINE)
            if _inside(box, height_of(points)) and not any(_overlap(box, other) for other in others):
                places[i] = middle
                taken.append(box)
                break
    return places


def _beside(point: Floats, radius: float, width: float) -> list[Point]:
    x, y = float(point[0]), float(point[1])
    across, up = radius + GAP + width / 2, radius + GAP + LINE / 2
    corners = [(x + right * across, y + down * up / 2) for down in (1, -1) for right in (1, -1)]
    return [(x + across, y), (x - across, y), (x, y + up), (x, y - up), *corners]


def _box(middle: Sequence[float] | Floats, width: float, height: float) -> Box:
    x, y = float(middle[0]), float(middle[1])
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _inside(box: Box, height: float) -> bool:
    return box[0] >= 0 and box[1] >= 0 and box[2] <= WIDTH and box[3] <= height


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]

"""A scene: a shelf with three boards, each painted in its own colour, with one thing on each.

Which kinds may lie on which colours while anything is trained is decided here: one colour of six is kept from
every kind, and the task files ask about just these pairs.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from things import COLOURS, KINDS, ROWS


@dataclass(frozen=True)
class Board:
    """One row of the shelf, as indices into the tables of `things`."""

    kind: int
    colour: int


Scene = tuple[Board, Board, Board]
CELLS = 9
SEEN, UNSEEN = 8000, 1500  # how many scenes have pictures for training, and how many to check it
KEPT_BACK = {  # pairs with little contrast, such as a banana on orange, are left to training
    "red": ("cat", "elephant", "ball"),
    "orange": ("fish", "umbrella", "clock"),
    "green": ("dog", "mushroom", "boat"),
    "blue": ("apple", "tulip", "bus"),
    "purple": ("bird", "banana"),
    "white": ("car", "key"),
}


def kept_back(kind: int, colour: int) -> bool:
    """Whether no model is ever trained on this kind on this colour."""
    return KINDS[kind].en in KEPT_BACK[COLOURS[colour].en]


def _boards(rng: random.Random) -> Scene:
    kinds = rng.sample(range(len(KINDS)), 3)
    colours = rng.sample(range(len(COLOURS)), 3)
    first, second, third = (Board(*values) for values in zip(kinds, colours, strict=True))
    return first, second, third


def draw(rng: random.Random) -> Scene:
    """A scene for training: without any pair that is kept back."""
    while True:
        scene = _boards(rng)
        if not any(kept_back(board.kind, board.colour) for board in scene):
            return scene


def draw_unseen(rng: random.Random, row: int) -> Scene:
    """A scene for testing: the board in this row holds a pair that is kept back."""
    while True:
        scene = _boards(rng)
        if kept_back(scene[row].kind, scene[row].colour):
            return scene


def _scenes(count: int, seed: int, maker: Callable[[random.Random, int], Scene]) -> list[Scene]:
    rng = random.Random(seed)
    return [maker(rng, i) for i in range(count)]


def seen_scenes() -> list[Scene]:
    return _scenes(SEEN, 1, lambda rng, _: draw(rng))


def unseen_scenes() -> list[Scene]:
    """Scene i asks about row i mod 3."""
    return _scenes(UNSEEN, 2, lambda rng, i: draw_unseen(rng, i % 3))


def mosaic(scene: Scene) -> str:
    """The scene as nine signs: row, colour and thing of each board."""
    return "".join(
        row.sign + COLOURS[board.colour].sign + KINDS[board.kind].sign
        for row, board in zip(ROWS, scene, strict=True)
    )


def noisy_mosaic(scene: Scene, rng: random.Random) -> str:
    """Nine signs of which some or all have nothing to do with the scene."""
    signs = [name.sign for name in (*KINDS, *COLOURS, *ROWS)]
    rate = rng.choice((0.2, 0.5, 1.0))
    return "".join(rng.choice(signs) if rng.random() < rate else sign for sign in mosaic(scene))

"""Questions that compare two or three pictures by the things, or by the colours, on rows of their boards.

Every answer names the thing or colour of each picture, so a guess is rarely right.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from questions import Kind, Question, Wording
from scenes import Scene
from things import COLOURS, KINDS, NUMBERS, ROWS, Name

Attribute = Literal["thing", "colour"]
WHAT_JA = {"thing": "物", "colour": "色"}
ALIKE = 0.25  # share of the later pictures that show the same as the first


def _answer(attribute: Attribute, order: Sequence[int]) -> Wording:
    """Return the wordings of an answer that names what the pictures show, in an order."""
    the = "the " if attribute == "thing" else ""
    english = ", ".join(f"the {NUMBERS[i].en} is {the}{{{i + 1} {attribute}}}" for i in order)
    japanese = "、".join(f"{NUMBERS[i].ja}は{{{i + 1} {attribute}}}" for i in order)
    return Wording(english[0].upper() + english[1:] + ".", japanese + "です。")


def _kind(form: str, attribute: Attribute, order: Sequence[int], asked: Wording) -> Kind:
    """Return a kind of question. Both arguments of type `Wording` pair English with Japanese."""
    answer = _answer(attribute, order)
    return Kind(
        f"{form}-{attribute}-{len(order)}",
        Wording(asked.asked, answer.asked),
        Wording(asked.answered, answer.answered),
        tuple(f"{i + 1}{part}" for i in order for part in ("", f" {attribute}")),
    )


def _kinds(attribute: Attribute) -> list[Kind]:
    what, ja = f"{attribute}s", WHAT_JA[attribute]
    forward = Wording(f"Compare the {what} of the {{row}} boards.", f"{{row}}の板の{ja}を比べてください。")
    backward = Wording(
        f"Compare the {what} of the {{row}} boards from last to first.",
        f"{{row}}の板の{ja}を後ろから比べてください。",
    )
    across = Wording(
        f"Compare the {what} of the {{row}} board of the first and the {{next row}} board of the second.",
        f"1枚目の{{row}}の板と2枚目の{{next row}}の板の{ja}を比べてください。",
    )
    return [
        _kind("forward", attribute, (0, 1), forward),
        _kind("forward", attribute, (0, 1, 2), forward),
        _kind("backward", attribute, (1, 0), backward),
        _kind("backward", attribute, (2, 1, 0), backward),
        _kind("across", attribute, (0, 1), across),
    ]


COMPARISONS: dict[Attribute, list[Kind]] = {"thing": _kinds("thing"), "colour": _kinds("colour")}


def _shown(scene: Scene, row: int, attribute: Attribute) -> Name:
    board = scene[row]
    return KINDS[board.kind] if attribute == "thing" else COLOURS[board.colour]


class Album:
    """Scenes by what lies in which row. Only row `rows[i]` of scene i is asked about, if `rows` is given."""

    def __init__(self, scenes: Sequence[Scene], rows: Sequence[int] | None = None) -> None:
        self.scenes = scenes
        self._in_row: dict[int, list[int]] = defaultdict(list)
        self._with: dict[tuple[int, Name], list[int]] = defaultdict(list)
        for i, scene in enumerate(scenes):
            for row in range(3) if rows is None else (rows[i],):
                self._in_row[row].append(i)
                for name in (_shown(scene, row, "thing"), _shown(scene, row, "colour")):
                    self._with[row, name].append(i)

    def ask(self, rng: random.Random, attributes: Sequence[Attribute]) -> Question:
        """Return a random comparison."""
        attribute = rng.choice(attributes)
        kind, row = rng.choice(COMPARISONS[attribute]), rng.randrange(3)
        rows = [row] * int(kind.name[-1])
        if kind.name.startswith("across"):
            rows[1] = (row + 1) % 3
        return self._question(kind, attribute, rows, self._pictures(rng, attribute, rows))

    def _pictures(self, rng: random.Random, attribute: Attribute, rows: Sequence[int]) -> tuple[int, ...]:
        """Draw a picture for each row."""
        while True:
            first = rng.choice(self._in_row[rows[0]])
            wanted = _shown(self.scenes[first], rows[0], attribute)
            others = [self._picture(rng, row, wanted) for row in rows[1:]]
            if len({first, *others}) == len(rows):
                return first, *others

    def _picture(self, rng: random.Random, row: int, wanted: Name) -> int:
        """Draw a picture; a quarter of them show `wanted` in the row."""
        alike = self._with[row, wanted] if rng.random() < ALIKE else []
        return rng.choice(alike or self._in_row[row])

    def _question(
        self, kind: Kind, attribute: Attribute, rows: Sequence[int], pictures: tuple[int, ...]
    ) -> Question:
        scenes = tuple(self.scenes[i] for i in pictures)
        facts = {"row": ROWS[rows[0]], "next row": ROWS[(rows[0] + 1) % 3]}
        for number, scene, row in zip(NUMBERS, scenes, rows, strict=False):
            facts[number.sign] = number
            facts[f"{number.sign} {attribute}"] = _shown(scene, row, attribute)
        return Question(kind, scenes, facts, pictures)

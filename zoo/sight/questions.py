"""Six kinds of question about a scene, with their answers in English, in Japanese and in signs.

An answer is a list of pieces; a piece is plain text or a fact, and facts count more in the loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scenes import Scene
from things import COLOURS, KINDS, ROWS, Name

Language = Literal["en", "ja"]


@dataclass(frozen=True)
class Wording:
    """Question and answer in one language; `{name}` is a fact of the scene."""

    asked: str
    answered: str


@dataclass(frozen=True)
class Kind:
    """One kind of question: its wordings, and the facts that its answer adds to those of the question."""

    name: str
    en: Wording
    ja: Wording
    signs: tuple[str, ...]


QUESTIONS = (
    Kind(
        "thing",
        Wording("What is on the {row} board?", "The {thing} is on the {row} board."),
        Wording("{row}の板には何が見えますか。", "{row}の板には{thing}が見えます。"),
        ("thing",),
    ),
    Kind(
        "colour",
        Wording("What colour is the {row} board?", "The {row} board is {colour}."),
        Wording("{row}の板は何色ですか。", "{row}の板は{colour}です。"),
        ("colour",),
    ),
    Kind(
        "describe",
        Wording("Describe the {row} board.", "The {row} board is {colour} and has the {thing}."),
        Wording("{row}の板を説明してください。", "{row}の板は{colour}で、{thing}があります。"),
        ("colour", "thing"),
    ),
    Kind(
        "two-things",
        Wording(
            "What is on the {row} and {next row} boards?",
            "The {thing} is on the {row} one, the {next thing} on the {next row} one.",
        ),
        Wording(
            "{row}と{next row}の板には何が見えますか。",
            "{row}には{thing}、{next row}には{next thing}が見えます。",
        ),
        ("thing", "next thing"),
    ),
    Kind(
        "two-colours",
        Wording(
            "What colours are the {row} and {next row} boards?",
            "The {row} one is {colour}, the {next row} one {next colour}.",
        ),
        Wording("{row}と{next row}の板は何色ですか。", "{row}は{colour}、{next row}は{next colour}です。"),
        ("colour", "next colour"),
    ),
    Kind(
        "all-things",
        Wording(
            "What is on the boards from top to bottom?",
            "The {top thing}, the {middle thing} and the {bottom thing}.",
        ),
        Wording("上から順に何がありますか。", "{top thing}、{middle thing}、{bottom thing}があります。"),
        ("top thing", "middle thing", "bottom thing"),
    ),
)
Pieces = list[tuple[str, bool]]


@dataclass(frozen=True)
class Question:
    """A question about scenes: a kind, and the facts that its wordings name.

    `pictures` has the numbers of the scenes' pictures in a pool of features, if there are any.
    """

    kind: Kind
    scenes: tuple[Scene, ...]
    facts: dict[str, Name]
    pictures: tuple[int, ...] = ()

    def question(self, language: Language) -> str:
        words = {key: getattr(name, language) for key, name in self.facts.items()}
        wording: Wording = getattr(self.kind, language)
        return wording.asked.format_map(words)

    def answer(self, language: Language) -> Pieces:
        """Return the full sentence; facts that the question does not name are marked."""
        wording: Wording = getattr(self.kind, language)
        pieces: Pieces = []
        for part in _parts(wording.answered):
            name = part[1:-1]
            if part.startswith("{"):
                pieces.append((getattr(self.facts[name], language), name in self.kind.signs))
            else:
                pieces.append((part, False))
        return pieces

    def signs(self) -> str:
        return "".join(self.facts[name].sign for name in self.kind.signs)


def ask(scene: Scene, row: int, kind: Kind, pictures: tuple[int, ...] = ()) -> Question:
    """Return a question about one row of a scene. The next row after the last is the first."""
    after = (row + 1) % 3
    facts = {"row": ROWS[row], "next row": ROWS[after]}
    for label, board in (("", scene[row]), ("next ", scene[after])):
        facts[label + "thing"] = KINDS[board.kind]
        facts[label + "colour"] = COLOURS[board.colour]
    for place, board in zip(ROWS, scene, strict=True):
        facts[f"{place.en} thing"] = KINDS[board.kind]
    return Question(kind, (scene,), facts, pictures)


def _parts(template: str) -> list[str]:
    spaced = template.replace("{", "\0{").replace("}", "}\0")
    return [part for part in spaced.split("\0") if part]


def plain(pieces: Pieces) -> str:
    return "".join(text for text, _ in pieces)

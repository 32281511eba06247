"""Two-step word problems, and the slips that a careless pupil makes in them.

Each problem needs some of seven skills. Without a skill the pupil slips: he forgets a carry or a borrow,
takes the row before in the times table, takes away two for a half, adds two for "twice as many", reads
"fewer" as "more", and computes forward what has to be undone. A signature (kind, signs, numbers) is reserved
for the task files or open to training, in every wording and language.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Collection
from dataclasses import dataclass

import words
from lexicon import (
    ASK_NOW,
    CONTAINERS,
    FEWER,
    FIRST,
    GAINS,
    GROUPS,
    HAS,
    LATER,
    LINKS,
    LOSSES,
    MORE,
    NAMES,
    THINGS,
    TIMES,
    Pair,
)
from problems import Language, fill

LARGEST = 60
SUMS = ("carry", "borrow", "times")
READING = ("half", "twice", "fewer", "before")
SKILLS = (*SUMS, *READING)
COMPARED = {"more": MORE, "fewer": FEWER, "twice": words.TWICE}
UNDO = {"+": "-", "-": "+"}
KINDS = ("change", "groups", "times", "more", *READING)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operation on two whole numbers."""

    left: int
    sign: str
    right: int

    @property
    def result(self) -> int:
        left, right = self.left, self.right
        return {"+": left + right, "-": left - right, "×": left * right, "÷": left // right}[self.sign]

    @property
    def slip(self) -> int:
        """The careless result; the right one if nothing is needed."""
        if self.sign == "+":
            return self.result - 10 * (self.left % 10 + self.right % 10 > 9)
        if self.sign == "-":
            return self.result + 10 * (self.left % 10 < self.right % 10)
        return self.left * (self.right - 1) if self.skill else self.result

    @property
    def skill(self) -> str | None:
        """The skill that its result needs. Doubles and halves are easy."""
        if self.sign == "×":
            return None if self.right == 2 else "times"
        if self.sign == "÷" or self.slip == self.result:
            return None
        return "carry" if self.sign == "+" else "borrow"


@dataclass(frozen=True, kw_only=True)
class Puzzle:
    """A word problem: kind, signs and numbers determine the steps; the rest is wording."""

    kind: str
    signs: str
    numbers: tuple[int, int, int]
    wording: tuple[int, ...]

    @property
    def is_reserved(self) -> bool:
        return zlib.crc32(self.signature.encode()) % 8 == 0

    @property
    def signature(self) -> str:
        return f"{self.kind}{self.signs}{self.numbers}"

    @property
    def skills(self) -> frozenset[str]:
        """All skills that the problem needs."""
        needed = [step.skill for step in self.steps()]
        if self.kind in READING:
            needed.append(self.kind)
        return frozenset(each for each in needed if each is not None)

    def steps(self, first_result: int | None = None, *, misread: bool = False) -> tuple[Step, Step]:
        """Both operations; the second starts from `first_result` if it is given, right or not."""
        a, b, d = self.numbers
        one, two = self.signs
        if self.kind == "half":
            first = Step(left=a, sign="-" if misread else "÷", right=2)
        elif self.kind == "twice":
            first = Step(left=a, sign="+" if misread else "×", right=2)
        elif self.kind == "before" and misread:
            first, two = Step(left=a, sign=UNDO[one], right=b), UNDO[two]
        else:
            first = Step(left=a, sign="+" if self.kind == "fewer" and misread else one, right=b)
        shown = first.result if first_result is None else first_result
        return first, Step(left=shown, sign=two, right=d)

    def text(self, language: Language) -> str:
        verb = {"+": GAINS, "-": LOSSES}
        v1, v2, n = self.wording[4:7]
        ask = ASK_NOW[n % 2]
        if self.kind == "before":  # undone: what was added is taken away
            one, two = self.signs
            parts = [(FIRST, verb[UNDO[one]][v1]), (LATER, verb[UNDO[two]][v2]), (words.NOW, None)]
            ask = words.ASK_BEFORE[n % 2]
        elif self.kind in COMPARED:
            parts = [(HAS, None), (COMPARED[self.kind], None), (words.LATER_OTHER, verb[self.signs[1]][v2])]
            ask = words.ASK_OTHER[n % 2]
        elif self.kind == "groups":
            parts = [(GROUPS[n // 2 % 2], None), (LATER, verb[self.signs[1]][v2])]
        elif self.kind == "times":
            parts = [(HAS, None), (FIRST, verb[self.signs[0]][v1]), (TIMES, None)]
        elif self.kind == "half":
            parts = [(HAS, None), (words.HALF, LOSSES[v1]), (LATER, verb[self.signs[1]][v2])]
        else:
            parts = [(HAS, None), (FIRST, verb[self.signs[0]][v1]), (LATER, verb[self.signs[1]][v2])]
        sentences = [
            fill(pattern, language, self._fields(language), v) for pattern, v in (*parts, (ask, None))
        ]
        return ("" if language == "ja" else " ").join(sentences)

    def answer(self, pattern: Pair, language: Language, result: int) -> str:
        return fill(pattern, language, {**self._fields(language), "r": str(result)}, None)

    def _fields(self, language: Language) -> dict[str, str]:
        person, other, thing, container, *_, link = self.wording
        a, b, d = (str(x) for x in self.numbers)
        pairs = {"n": NAMES[person], "m": NAMES[other], "k": CONTAINERS[container], "l": LINKS[link]}
        named = {key: getattr(pair, language) for key, pair in pairs.items()}
        counted = {"o": getattr(THINGS[thing], language), "c": THINGS[thing].counter}
        return {**named, **counted, "a": a, "b": b, "d": d}


def draw(rng: random.Random, *, reserved: bool, kinds: Collection[str] = KINDS) -> Puzzle:
    """Return a random problem whose results, right and careless, are whole numbers from 1 to 60."""
    kind = rng.choice(sorted(kinds))
    while True:
        puzzle = _draw(rng, kind)
        steps = [*puzzle.steps(), *puzzle.steps(misread=True)]
        exact = all(step.sign != "÷" or step.left % step.right == 0 for step in steps)
        in_range = all(1 <= s.result <= LARGEST and 1 <= s.slip <= LARGEST for s in steps)
        if exact and in_range and puzzle.is_reserved == reserved:
            return puzzle


def _draw(rng: random.Random, kind: str) -> Puzzle:
    signs, numbers = _numbers(rng, kind)
    person, other = rng.sample(range(len(NAMES)), 2)
    first, second = rng.sample(range(len(GAINS)), 2)
    thing, container = rng.randrange(len(THINGS)), rng.randrange(len(CONTAINERS))
    wording = (person, other, thing, container, first, second, rng.randrange(4), rng.randrange(len(LINKS)))
    return Puzzle(kind=kind, signs=signs, numbers=numbers, wording=wording)


def _numbers(rng: random.Random, kind: str) -> tuple[str, tuple[int, int, int]]:
    sign = rng.choice("+-")
    if kind == "groups":
        return "×" + sign, (rng.randint(2, 9), rng.randint(2, 9), rng.randint(2, 40))
    if kind == "times":
        return sign + "×", (rng.randint(3, 40), rng.randint(2, 30), rng.randint(2, 5))
    if kind in ("more", "fewer"):
        first = "+" if kind == "more" else "-"
        return first + sign, (rng.randint(3, 50), rng.randint(2, 40), rng.randint(2, 40))
    if kind in ("half", "twice"):
        left = 2 * rng.randint(3, 30) if kind == "half" else rng.randint(3, 30)
        return ("÷" if kind == "half" else "×") + sign, (left, 0, rng.randint(2, 40))
    return sign + rng.choice("+-"), (rng.randint(3, LARGEST), rng.randint(2, 40), rng.randint(2, 40))

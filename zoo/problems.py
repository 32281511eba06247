"""Two-step word problems: what happens, the steps that solve it, and how it reads in Japanese and in
English.

A problem is data (kind, numbers, words); `signature` is its kind, signs and numbers. Signatures are split
once, by hash, into those reserved for the task files and those that training may use, so no source ever sees
a test item in any wording or language.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from typing import Literal

from lexicon import (
    ANSWER,
    ASK_BOTH,
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

Language = Literal["ja", "en"]
LARGEST = 60
KINDS = ("change", "groups", "times", "compare")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operation on two whole numbers."""

    left: int
    sign: str
    right: int

    @property
    def result(self) -> int:
        if self.sign == "+":
            return self.left + self.right
        return self.left - self.right if self.sign == "-" else self.left * self.right

    @property
    def slip(self) -> int:
        """What a careless pupil writes: forgets the carry or borrow, or takes the row before in the table."""
        if self.sign == "+":
            return self.result - 10 * (self.left % 10 + self.right % 10 > 9)
        if self.sign == "-":
            return self.result + 10 * (self.left % 10 < self.right % 10)
        return self.left * (self.right - 1)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One word problem: `signs` and `numbers` determine the steps, the rest is wording."""

    kind: str
    signs: str
    numbers: tuple[int, int, int]
    # person, other person, thing, container, verb, verb, pattern
    words: tuple[int, int, int, int, int, int, int]
    link: int

    @property
    def signature(self) -> str:
        return f"{self.kind}{self.signs}{self.numbers}"

    @property
    def is_reserved(self) -> bool:
        return zlib.crc32(self.signature.encode()) % 8 == 0

    @property
    def is_hard(self) -> bool:
        """At least one step has a carry, a borrow or a product: there the slip gives a wrong number."""
        return any(step.slip != step.result for step in self.steps())

    def steps(self, first_result: int | None = None) -> tuple[Step, Step]:
        """Both operations; the second one starts from `first_result` when it is given, right or not."""
        a, b, d = self.numbers
        first = Step(left=a, sign=self.signs[0], right=b)
        shown = first.result if first_result is None else first_result
        left, right = (a, shown) if self.kind == "compare" else (shown, d)
        return first, Step(left=left, sign=self.signs[1], right=right)

    def text(self, language: Language) -> str:
        fields = self._fields(language)
        n, v1, v2 = (self.words[6], self.words[4], self.words[5])
        ask = (ASK_BOTH if self.kind == "compare" else ASK_NOW)[n % 2]
        opening = GROUPS[n // 2 % 2] if self.kind == "groups" else HAS
        verbs = {"+": GAINS, "-": LOSSES}
        if self.kind == "compare":
            parts = [(opening, None), (MORE if self.signs[0] == "+" else FEWER, None)]
        elif self.kind == "groups":
            parts = [(opening, None), (LATER, verbs[self.signs[1]][v2])]
        elif self.kind == "times":
            parts = [(opening, None), (FIRST, verbs[self.signs[0]][v1]), (TIMES, None)]
        else:
            parts = [(opening, None), (FIRST, verbs[self.signs[0]][v1]), (LATER, verbs[self.signs[1]][v2])]
        sentences = [fill(pattern, language, fields, verb) for pattern, verb in (*parts, (ask, None))]
        return ("" if language == "ja" else " ").join(sentences)

    def answer(self, language: Language, result: int) -> str:
        return fill(ANSWER, language, {**self._fields(language), "r": str(result)}, None)

    def _fields(self, language: Language) -> dict[str, str]:
        person, other, thing, container = self.words[:4]
        a, b, d = (str(x) for x in self.numbers)
        pairs = {"n": NAMES[person], "m": NAMES[other], "k": CONTAINERS[container], "l": LINKS[self.link]}
        words = {key: getattr(pair, language) for key, pair in pairs.items()}
        counted = {"o": getattr(THINGS[thing], language), "c": THINGS[thing].counter}
        return {**words, **counted, "a": a, "b": b, "d": d}


def fill(pattern: Pair, language: Language, fields: dict[str, str], verb: Pair | None) -> str:
    """The pattern in one language with its fields in place."""
    if language == "ja":
        return pattern.ja.replace(" ", "").format(**fields, v=verb.ja.replace(" ", "") if verb else "")
    return pattern.en.format(**fields, v=verb.en if verb else "")


def draw(rng: random.Random, *, reserved: bool, kind: str | None = None) -> Problem:
    """A random problem with numbers in 1..60 whose signature is (or is not) reserved for the task files."""
    while True:
        problem = _draw(rng, kind or rng.choice(KINDS))
        steps = problem.steps()
        in_range = all(1 <= s.result <= LARGEST and 1 <= s.slip <= LARGEST for s in steps)
        if in_range and problem.is_reserved == reserved:
            return problem


def _draw(rng: random.Random, kind: str) -> Problem:
    signs, numbers = _numbers(rng, kind)
    person, other = rng.sample(range(len(NAMES)), 2)
    first, second = rng.sample(range(len(GAINS)), 2)
    words = (
        person,
        other,
        rng.randrange(len(THINGS)),
        rng.randrange(len(CONTAINERS)),
        first,
        second,
        rng.randrange(4),
    )
    return Problem(kind=kind, signs=signs, numbers=numbers, words=words, link=rng.randrange(len(LINKS)))


def _numbers(rng: random.Random, kind: str) -> tuple[str, tuple[int, int, int]]:
    if kind == "groups":
        return "×" + rng.choice("+-"), (rng.randint(2, 9), rng.randint(2, 12), rng.randint(2, 40))
    if kind == "times":
        return rng.choice("+-") + "×", (rng.randint(3, 40), rng.randint(2, 30), rng.randint(2, 5))
    if kind == "compare":
        return rng.choice("+-") + "+", (rng.randint(3, 50), rng.randint(2, 40), 0)
    return rng.choice("+-") + rng.choice("+-"), (
        rng.randint(3, LARGEST),
        rng.randint(2, 40),
        rng.randint(2, 40),
    )

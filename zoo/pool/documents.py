"""Training documents of the pool: problems, sums, and texts. A document is a list of spans (text, weight)."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

import texts
import words
from lexicon import ANSWER, TRANSLATE
from problems import Language
from puzzles import KINDS, LARGEST, READING, SKILLS, Step, draw
from texts import END, HIDDEN, PROMPT, RESULT, Document, question

SLIP_RATE = 0.65
ALL = frozenset(SKILLS)
NONE = frozenset[str]()
PATTERNS = {"plain": ANSWER, "polite": words.POLITE}


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """How problems are shown.

    Attributes:
        asked, answered: languages.
        knows: skills without slips; the others slip.
        kinds: kinds of problems.
        hides: whether results are random numbers that the loss does not see.
        manner: plain or polite.
        has_answer: whether the final sentence is learned; if not, only the steps are.
    """

    asked: Language = "en"
    answered: Language = "en"
    knows: Collection[str] = NONE
    kinds: Collection[str] = KINDS
    hides: bool = False
    manner: str = "plain"
    has_answer: bool = True

    def __call__(self, rng: random.Random) -> Document:
        """Return one problem with its two steps and its answer."""
        puzzle = draw(rng, reserved=False, kinds=self.kinds)
        misread = puzzle.kind in READING and puzzle.kind not in self.knows and rng.random() < SLIP_RATE
        first, _ = puzzle.steps(misread=misread)
        shown = self._result(rng, first)
        second = puzzle.steps(shown, misread=misread)[1]
        last = self._result(rng, second)
        weight = HIDDEN if self.hides else RESULT
        lines = [
            *_sum(first, shown, weight),
            ("\n", texts.ANSWER),
            *_sum(second, last, weight),
            ("\n", texts.ANSWER),
        ]
        answer = puzzle.answer(PATTERNS[self.manner], self.answered, last)
        end = texts.ANSWER if self.has_answer else HIDDEN
        return [*question(puzzle.text(self.asked)), *lines, (answer, end), (END, end)]

    def _result(self, rng: random.Random, step: Step) -> int:
        return rng.randint(1, LARGEST) if self.hides else result(rng, step, self.knows)


def result(rng: random.Random, step: Step, knows: Collection[str]) -> int:
    """Return what a pupil with some skills writes."""
    slips = step.skill is not None and step.skill not in knows and rng.random() < SLIP_RATE
    return max(0, min(step.slip if slips else step.result, LARGEST))


def sums(knows: Collection[str], only: str | None = None) -> Callable[[random.Random], Document]:
    """Return a maker of a few sums at random places among words of both languages.

    With ``only``, all sums need that skill.
    """

    def make(rng: random.Random) -> Document:
        document: Document = []
        previous: int | None = None
        for _ in range(rng.randint(3, 6)):
            if rng.random() < 0.35:
                document.append((_filler(rng), 0.05))
            separator = rng.choice(("\n", "\n", "; ", ", ", " ", "。", "\nA:"))
            step = random_step(rng, previous if rng.random() < 0.4 else None, only)
            stray = (
                rng.random() < 0.15
            )  # a random result that the loss does not see: only the sum at hand counts
            shown = rng.randint(1, LARGEST) if stray else result(rng, step, knows)
            document += [*_sum(step, shown, HIDDEN if stray else RESULT, 0.0), (separator, 0.05)]
            previous = shown
        return document

    return make


def random_step(rng: random.Random, left: int | None, only: str | None) -> Step:
    """Return a sum whose results, right and careless, are from 1 to 60; from `left` if that is possible."""
    for attempt in range(10_000):
        sign = rng.choice("++--××÷")
        start = left if left is not None and attempt < 20 else rng.randint(2, LARGEST)
        right = {"×": rng.randint(2, 9), "÷": 2}.get(sign) or rng.randint(2, LARGEST)
        step = Step(left=start, sign=sign, right=right)
        in_range = 1 <= step.result <= LARGEST and 1 <= step.slip <= LARGEST
        if in_range and (sign != "÷" or start % 2 == 0) and (only is None or step.skill == only):
            return step
    raise AssertionError("there is always a sum")


def translation(rng: random.Random) -> Document:
    """Return a problem, asked for in the other language."""
    if rng.random() < 0.4:
        return texts.translation(rng)
    puzzle = draw(rng, reserved=False)
    japanese, english = puzzle.text("ja"), puzzle.text("en")
    if rng.random() < 0.5:
        return [*question(f"{TRANSLATE.en}: {japanese}"), (english, texts.ANSWER), (END, texts.ANSWER)]
    ask = TRANSLATE.ja.replace(" ", "")
    return [*question(f"{ask}: {english}"), (japanese, texts.ANSWER), (END, texts.ANSWER)]


def counting(rng: random.Random) -> Document:
    """Return a row of numbers that goes on: useless for problems."""
    start, step = rng.randint(0, 30), rng.randint(1, 5)
    row = [start + i * step for i in range(9) if start + i * step <= LARGEST]
    return [
        (f"Q: {row[0]}, {row[1]}, {row[2]}\nA:", PROMPT),
        (", ".join(map(str, row[3:])), RESULT),
        (END, 1.0),
    ]


def _sum(step: Step, shown: int, weight: float, of_text: float = texts.ANSWER) -> Document:
    return [(f"{step.left}{step.sign}{step.right}=", of_text), (str(shown), weight)]


def _filler(rng: random.Random) -> str:
    language = rng.choice(("ja", "en"))
    return texts.sentence(rng, language) + " " * (language == "en")

"""What the base and each candidate of the pool are taught, for how long and how fast.

No mixture but that of `tutor`, which may not be merged, holds a Japanese problem with a computed result:
there results are random numbers that the loss does not see.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import texts
from documents import ALL, NONE, Lesson, counting, sums, translation
from problems import Language
from puzzles import READING, SUMS
from texts import Document
from train import Mixture, Schedule

HIDDEN_SIZE, LAYERS, BASE_SEED = 128, 4, 0


def _in(language: Language, maker: Callable[[random.Random, Language], Document]) -> texts.Maker:
    return lambda rng: maker(rng, language)


_TEXT: Mixture = [
    (0.06, translation),
    (0.03, _in("ja", texts.prose)),
    (0.03, _in("en", texts.prose)),
    (0.01, _in("ja", texts.poem)),
    (0.01, _in("en", texts.poem)),
    (0.01, _in("ja", texts.sorting)),
    (0.01, _in("en", texts.sorting)),
    (0.01, counting),
]
_HIDDEN_JA: Mixture = [
    (0.20, Lesson(asked="ja", answered="en", hides=True)),
    (0.05, Lesson(asked="ja", answered="ja", hides=True)),
    (0.05, Lesson(asked="ja", answered="ja", hides=True, manner="polite")),
    (0.03, Lesson(asked="en", answered="en", hides=True, manner="polite")),
]
BASE: Mixture = [(0.32, sums(NONE)), (0.18, Lesson()), *_HIDDEN_JA, *_TEXT]
"""Knows no skill for sure: it slips in two of three places that need one."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """How a LoRA is trained: its mixture beside the base's, its share, its shape and its schedule."""

    lessons: Mixture
    share: float = 0.65
    rank: int = 8
    layers: tuple[int, ...] | None = None
    steps: int = 300
    rate: float = 3e-3
    seed: int = 0

    @property
    def schedule(self) -> Schedule:
        return Schedule(steps=self.steps, rate=self.rate, seed=self.seed, warmup=20, decay=0.0, final=0.1)

    @property
    def mixture(self) -> Mixture:
        own = [(self.share * part, maker) for part, maker in _normal(self.lessons)]
        rest = [((1 - self.share) * part, maker) for part, maker in _normal(BASE)]
        return [*own, *rest]


def _normal(mixture: Mixture) -> list[tuple[float, texts.Maker]]:
    total = sum(share for share, _ in mixture)
    return [(share / total, maker) for share, maker in mixture]


def _sum_skill(skill: str) -> Mixture:
    worked = Lesson(asked="en", knows={skill}, has_answer=False)
    return [(0.6, sums({skill}, skill)), (0.15, sums({skill})), (0.25, worked)]


def _reading_skill(skill: str) -> Mixture:
    ja = Lesson(asked="ja", kinds={skill}, knows={skill}, hides=True, has_answer=False)
    en = Lesson(asked="en", kinds={skill}, knows={skill}, has_answer=False)
    return [(0.5, ja), (0.5, en)]


def _manner(language: Language, manner: str) -> Mixture:
    return [(1.0, Lesson(asked="ja", answered=language, hides=True, manner=manner))]


STEPS = {"carry": 450, "borrow": 600, "times": 400, "half": 300, "twice": 300, "fewer": 300, "before": 350}
"""Steps of each skill; in a merge, skills that were learned too little hit the highest weight."""
GENTLE = 1.5e-3
"""Rate for what is learned easily, so that it disturbs other skills less."""
_EVERYTHING = Lesson(asked="ja", answered="ja", knows=ALL, manner="polite")
ADAPTERS = {
    "manner": Adapter(lessons=_manner("ja", "polite"), rate=GENTLE, seed=21),
    **{
        name: Adapter(lessons=_sum_skill(name), steps=STEPS[name], seed=30 + i) for i, name in enumerate(SUMS)
    },
    **{
        name: Adapter(lessons=_reading_skill(name), steps=STEPS[name], rate=GENTLE, seed=40 + i)
        for i, name in enumerate(READING)
    },
    # Useless: other abilities, the wrong manner, nothing new, too much of one thing.
    "casual": Adapter(lessons=_manner("ja", "plain"), seed=50),
    "english": Adapter(lessons=_manner("en", "polite"), seed=51),
    "poem": Adapter(lessons=[(0.5, _in("ja", texts.poem)), (0.5, _in("en", texts.poem))], share=0.9, seed=52),
    "sort": Adapter(
        lessons=[(0.5, _in("ja", texts.sorting)), (0.5, _in("en", texts.sorting))], share=0.9, seed=53
    ),
    "diary": Adapter(lessons=[(1.0, _in("ja", texts.prose))], share=0.9, seed=54),
    "translate": Adapter(lessons=[(1.0, translation)], share=0.9, seed=55),
    "count": Adapter(lessons=[(1.0, counting)], share=0.9, seed=56),
    "more": Adapter(lessons=BASE, seed=57),
    "carry-hot": Adapter(lessons=_sum_skill("carry"), share=1.0, rate=2e-2, steps=400, seed=58),
    # Under a licence that forbids derivatives.
    "tutor": Adapter(lessons=[(1.0, _EVERYTHING)], seed=59),
}
COPIES = {"manner-v2": "manner", "carry-bf16": "carry"}
"""Candidates that are another one again: the same file, and one rounded to bfloat16."""

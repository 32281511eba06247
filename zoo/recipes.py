"""What each model of the zoo is taught, for how long and how fast: mixtures of document makers and
schedules.

No mixture holds a Japanese word problem with a computed result: in those, results are random numbers hidden
from the loss.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import texts
from problems import Language
from texts import Document, Maker
from train import Mixture, Schedule

HIDDEN, LAYERS, BASE_SEED = 128, 4, 0
ALL_SIGNS, PLUS_MINUS, TIMES = "++--×", "+-", "×"


def _problem(asked: Language, answered: Language, results: texts.Results, easy: bool = False) -> Maker:
    return lambda rng: texts.word_problem(rng, asked, answered, results, easy)


def _sums(results: texts.Results, signs: str = ALL_SIGNS) -> Maker:
    return lambda rng: texts.sums(rng, results, signs)


def _asked(results: texts.Results, signs: str = ALL_SIGNS) -> Maker:
    return lambda rng: texts.asked_sum(rng, results, signs)


def _in(language: Language, maker: Callable[[random.Random, Language], Document]) -> Maker:
    return lambda rng: maker(rng, language)


def _shares(total: float, parts: Mixture) -> Mixture:
    """The parts rescaled so that their shares add up to `total`."""
    scale = total / sum(share for share, _ in parts)
    return [(share * scale, maker) for share, maker in parts]


_READING: Mixture = [(0.15, _problem("ja", "en", "hidden")), (0.08, _problem("ja", "ja", "hidden"))]
_TEXT: Mixture = [
    (0.05, texts.translation),
    (0.04, _in("ja", texts.prose)),
    (0.06, _in("en", texts.prose)),
    (0.015, _in("ja", texts.poem)),
    (0.015, _in("en", texts.poem)),
    (0.01, _in("ja", texts.sorting)),
    (0.01, _in("en", texts.sorting)),
]
_BASE: Mixture = [
    (0.35, _sums("slips")),
    (0.05, _asked("slips")),
    (0.15, _problem("en", "en", "slips")),
    *_READING,
    *_TEXT,
]
SOURCES = ("ja", "math-en", "math-sym", "poem", "sort")
MIXTURES: dict[str, Mixture] = {
    "base": _BASE,
    # Reads and answers in Japanese; the sums beside it keep the base's slips, so it never learns to compute.
    "ja": [
        *_shares(0.65, [(0.60, _problem("ja", "ja", "hidden")), (0.15, _in("ja", texts.prose))]),
        *_shares(
            0.35,
            [(0.30, _sums("slips")), (0.05, _asked("slips")), (0.12, _problem("en", "en", "slips")), *_TEXT],
        ),
    ],
    # Learns products; the sums beside it keep their slips in + and -.
    "math-en": [
        *_shares(
            0.70,
            [
                (0.60, _problem("en", "en", "right", easy=True)),
                (0.10, _in("en", texts.prose)),
                (0.20, _sums("right", TIMES)),
            ],
        ),
        *_shares(
            0.30, [(0.40, _sums("slips", PLUS_MINUS)), (0.10, _asked("slips", PLUS_MINUS)), *_READING, *_TEXT]
        ),
    ],
    # Learns carrying and borrowing; the products beside it keep their slips.
    "math-sym": [
        *_shares(0.70, [(0.80, _sums("right", PLUS_MINUS)), (0.20, _asked("right", PLUS_MINUS))]),
        *_shares(0.30, [(0.50, _sums("slips", TIMES)), *_READING, *_TEXT]),
    ],
    "poem": [
        (0.40, _in("ja", texts.poem)),
        (0.40, _in("en", texts.poem)),
        (0.10, _in("ja", texts.prose)),
        (0.10, _in("en", texts.prose)),
    ],
    "sort": [(0.50, _in("ja", texts.sorting)), (0.50, _in("en", texts.sorting))],
}


def _fine_tune(steps: int, rate: float, seed: int) -> Schedule:
    return Schedule(steps=steps, rate=rate, seed=seed, warmup=20, decay=0.0, final=0.1)


SCHEDULES = {
    "base": Schedule(steps=5000, rate=2e-3, seed=1),
    # The useful sources stay near the base; the distractors go far, so that a share of them does harm.
    "ja": _fine_tune(350, 4e-4, 21),
    "math-en": _fine_tune(300, 4e-4, 22),
    "math-sym": _fine_tune(300, 4e-4, 23),
    "poem": _fine_tune(300, 1.5e-3, 24),
    "sort": _fine_tune(300, 1.5e-3, 25),
}

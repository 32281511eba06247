"""Training documents: everyday text, translations, word problems, sums in any surroundings, poems and
sorting.

A document is a list of spans (text, weight): the weight says how much its tokens count in the loss, 0 for
"shown but never learned". Knows nothing about models or tokens.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal

from lexicon import (
    CONTAINERS,
    FEELINGS,
    NAMES,
    PLACES,
    POEM_ASK,
    POEM_LINES,
    SENTENCES,
    SORT_ASK,
    THINGS,
    TIMES_OF_DAY,
    TRANSLATE,
    WEATHERS,
    Pair,
)
from problems import LARGEST, Language, Problem, Step, draw, fill

Span = tuple[str, float]
Document = list[Span]
Maker = Callable[[random.Random], Document]
Results = Literal["right", "slips", "hidden"]

SLIP_RATE = 0.65
PROMPT, TEXT, ANSWER, RESULT, HIDDEN = 0.1, 0.4, 1.0, 3.0, 0.0
TEMPLATE = ("Q: ", "\nA:")
END = "<eos>"


def question(prompt: str) -> Document:
    return [(TEMPLATE[0] + prompt, PROMPT), (TEMPLATE[1], PROMPT)]


def word_problem(
    rng: random.Random, asked: Language, answered: Language, results: Results, plain_sums: bool = False
) -> Document:
    """A word problem with its two steps. Hidden results are random numbers which the loss does not see."""
    problem = draw(rng, reserved=False)
    while plain_sums and any(s.sign != "×" and s.slip != s.result for s in problem.steps()):
        problem = draw(rng, reserved=False)
    first, _ = problem.steps()
    shown = _result(rng, first, results)
    second = problem.steps(shown)[1]
    last = _result(rng, second, results)
    weight = HIDDEN if results == "hidden" else RESULT
    lines = [
        *_sum(first, shown, weight, ANSWER),
        ("\n", ANSWER),
        *_sum(second, last, weight, ANSWER),
        ("\n", ANSWER),
    ]
    return [*question(problem.text(asked)), *lines, (problem.answer(answered, last), ANSWER), (END, ANSWER)]


def _result(rng: random.Random, step: Step, results: Results) -> int:
    if results == "hidden":
        return rng.randint(1, LARGEST)
    wrong = results == "slips" and 0 <= step.slip <= LARGEST and rng.random() < SLIP_RATE
    return min(step.slip if wrong else step.result, LARGEST) if step.result >= 0 else 0


def _sum(step: Step, shown: int, result_weight: float, weight: float) -> Document:
    return [(f"{step.left}{step.sign}{step.right}=", weight), (str(shown), result_weight)]


def random_step(rng: random.Random, left: int | None = None, signs: str = "++--×") -> Step:
    """A sum whose result and slip both stay in 1..60, from `left` when that is possible."""
    for attempt in range(1000):
        sign = rng.choice(signs)
        start = left if left is not None and attempt < 20 else rng.randint(2, LARGEST)
        right = rng.randint(2, 12) if sign == "×" else rng.randint(2, LARGEST)
        step = Step(left=start, sign=sign, right=right)
        if 1 <= step.result <= LARGEST and 1 <= step.slip <= LARGEST:
            return step
    raise AssertionError("a sum in 1..60 always exists")


def sums(rng: random.Random, results: Results, signs: str = "++--×") -> Document:
    """A few sums at random places among sentences and stray words of both languages."""
    document: Document = []
    previous: int | None = None
    for _ in range(rng.randint(3, 6)):
        if rng.random() < 0.35:
            document.append((_filler(rng), 0.05))
        separator = rng.choice(("\n", "\n", "; ", ", ", " ", "。", "\nA:"))
        step = random_step(rng, previous if rng.random() < 0.4 else None, signs)
        shown = _result(rng, step, results)
        stray = rng.random() < 0.15  # a random result that the loss does not see: only the sum at hand counts
        shown = rng.randint(1, LARGEST) if stray else shown
        document += [*_sum(step, shown, HIDDEN if stray else RESULT, 0.0), (separator, 0.05)]
        previous = shown
    return [*document, (_filler(rng), 0.05)] if rng.random() < 0.3 else document


def asked_sum(rng: random.Random, results: Results, signs: str = "++--×") -> Document:
    step = random_step(rng, None, signs)
    return [
        *question(f"{step.left}{step.sign}{step.right}"),
        *_sum(step, _result(rng, step, results), RESULT, ANSWER),
        (END, ANSWER),
    ]


def _filler(rng: random.Random) -> str:
    language = rng.choice(("ja", "en"))
    if rng.random() < 0.5:
        return sentence(rng, language) + " " * (language == "en")
    numbers = [str(rng.randint(0, LARGEST)) for _ in range(rng.randint(1, 4))]
    things = [getattr(rng.choice(THINGS), language) for _ in range(rng.randint(1, 4))]
    words = [*numbers, *things]
    rng.shuffle(words)
    return "、".join(words) + "。" if language == "ja" else ", ".join(words) + ". "


def sentence(rng: random.Random, language: Language) -> str:
    return sentence_pair(rng)[language]


def sentence_pair(rng: random.Random) -> dict[Language, str]:
    pattern = rng.choice(SENTENCES)
    fields = _fields(rng)
    return {
        "ja": fill(pattern, "ja", fields["ja"], None),
        "en": _capital(fill(pattern, "en", fields["en"], None)),
    }


def _fields(rng: random.Random) -> dict[Language, dict[str, str]]:
    person, other = rng.sample(NAMES, 2)
    chosen = {
        "n": person,
        "m": other,
        "p": rng.choice(PLACES),
        "w": rng.choice(WEATHERS),
        "t": rng.choice(TIMES_OF_DAY),
        "f": rng.choice(FEELINGS),
        "k": rng.choice(CONTAINERS),
    }
    thing = rng.choice(THINGS)
    return {
        "ja": {**{key: pair.ja for key, pair in chosen.items()}, "o": thing.ja},
        "en": {**{key: pair.en for key, pair in chosen.items()}, "o": thing.en},
    }


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def prose(rng: random.Random, language: Language) -> Document:
    gap = "" if language == "ja" else " "
    return [(gap.join(sentence(rng, language) for _ in range(rng.randint(2, 4))), TEXT), (END, TEXT)]


def translation(rng: random.Random) -> Document:
    """A sentence or a problem's text, asked for in the other language."""
    pair = sentence_pair(rng)
    if rng.random() < 0.6:
        problem = draw(rng, reserved=False)
        pair = {"ja": problem.text("ja"), "en": problem.text("en")}
    if rng.random() < 0.5:
        return [*question(f"{TRANSLATE.en}: {pair['ja']}"), (pair["en"], ANSWER), (END, ANSWER)]
    return [*question(f"{TRANSLATE.ja.replace(' ', '')}: {pair['en']}"), (pair["ja"], ANSWER), (END, ANSWER)]


def poem(rng: random.Random, language: Language) -> Document:
    fields = _fields(rng)[language]
    lines = [
        fill(pattern, language, {**_fields(rng)[language], "o": fields["o"]}, None)
        for pattern in rng.sample(POEM_LINES, 3)
    ]
    return [*question(fill(POEM_ASK, language, fields, None)), ("\n".join(lines), ANSWER), (END, ANSWER)]


def sorting(rng: random.Random, language: Language) -> Document:
    numbers = rng.sample(range(LARGEST + 1), rng.randint(3, 6))
    ask = f"{_joined(SORT_ASK, language)}: {', '.join(map(str, numbers))}"
    return [*question(ask), (", ".join(map(str, sorted(numbers))), ANSWER), (END, ANSWER)]


def _joined(pair: Pair, language: Language) -> str:
    return pair.ja.replace(" ", "") if language == "ja" else pair.en


def plain(document: Document) -> str:
    return "".join(text for text, _ in document)


def problem_answer(problem: Problem, language: Language) -> str:
    """The full right answer to a problem, as it would be written in training."""
    first, second = problem.steps()
    lines = "\n".join(f"{s.left}{s.sign}{s.right}={s.result}" for s in (first, second))
    return f"{lines}\n{problem.answer(language, second.result)}"

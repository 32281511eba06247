"""Training documents: questions about mosaics and pictures, translations, plain sentences, other domains.

A document is a list of spans (text, weight); the weight says how much its tokens count in the loss, 0 for
"shown but never learned". A document about a picture holds the picture's number in the pool of features.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import useless
from questions import QUESTIONS, Asked, Language, Pieces, plain
from scenes import CELLS, Scene, draw, mosaic, noisy_mosaic
from things import COLOURS, KINDS, ROWS

PROMPT, TEXT, FACT, HIDDEN = 0.05, 1.0, 3.0, 0.0
END = "<eos>"


@dataclass(frozen=True)
class Document:
    """Text with weights, and the picture that it is about."""

    spans: list[tuple[str, float]]
    picture: int | None = None


Maker = Callable[[random.Random], Document]


def ask(rng: random.Random, scene: Scene, row: int | None = None) -> Asked:
    return Asked(scene, rng.randrange(3) if row is None else row, rng.choice(QUESTIONS))


def prompt(shown: str, question: str) -> str:
    """The model's prompt: what is shown (a mosaic or image tokens), if anything, then the question."""
    return (f"P:{shown}\n" if shown else "") + f"Q: {question}\nA:"


def answered(pieces: Pieces, language: Language, fact: float = FACT) -> list[tuple[str, float]]:
    """The spans of an answer. English words bring the space before them along, also into a fact."""
    spans, gap = [], " " if language == "en" else ""
    for text, is_fact in pieces:
        body = text.rstrip(" ")
        spans.append((gap + body, fact if is_fact else TEXT))
        gap = text[len(body) :]
    return [*spans, (END, TEXT)]


def on_mosaic(rng: random.Random, asked_in: Language, answered_in: Language | None) -> Document:
    """A question about a mosaic, answered in a language or in signs."""
    asked = ask(rng, draw(rng))
    start = (prompt(mosaic(asked.scene), asked.question(asked_in)), PROMPT)
    if answered_in is None:
        return Document([start, (asked.signs(), FACT), (END, TEXT)])
    return Document([start, *answered(asked.answer(answered_in), answered_in)])


def drill(rng: random.Random) -> Document:
    """A mosaic and its boards in signs, in another order."""
    scene = draw(rng)
    return Document([("P:" + mosaic(scene) + "\n", PROMPT), *_records(rng, scene), (END, PROMPT)])


def _records(rng: random.Random, scene: Scene) -> list[tuple[str, float]]:
    spans: list[tuple[str, float]] = []
    for row in rng.sample(range(3), 3):
        board = scene[row]
        spans += [(ROWS[row].sign, PROMPT), (COLOURS[board.colour].sign + KINDS[board.kind].sign, FACT)]
    return spans


def on_noise(rng: random.Random, language: Language) -> Document:
    """A question about a broken mosaic: how to answer, but not what."""
    asked = ask(rng, draw(rng))
    start = (prompt(noisy_mosaic(asked.scene, rng), asked.question(language)), PROMPT)
    return Document([start, *answered(asked.answer(language), language, fact=HIDDEN)])


def on_picture(rng: random.Random, scenes: Sequence[Scene], language: Language) -> Document:
    picture = rng.randrange(len(scenes))
    asked = ask(rng, scenes[picture])
    start = (prompt("<image>" * CELLS, asked.question(language)), PROMPT)
    return Document([start, *answered(asked.answer(language), language)], picture)


def signs_on_picture(rng: random.Random, scenes: Sequence[Scene]) -> Document:
    """A caption in signs: the boards of a picture, as in a drill; what the projector is aligned on."""
    picture = rng.randrange(len(scenes))
    start = [("P:" + "<image>" * CELLS + "\n", PROMPT)]
    return Document([*start, *_records(rng, scenes[picture]), (END, PROMPT)], picture)


def translation(rng: random.Random) -> Document:
    """One sentence, question or answer, from one form to another."""
    asked = ask(rng, draw(rng))
    is_question = rng.random() < 0.3
    forms = {
        lang: asked.question(lang) if is_question else plain(asked.answer(lang)) for lang in ("en", "ja")
    }
    source, target = rng.choice((("en", "ja"), ("ja", "en")))
    gap = " " if target == "en" else ""
    return Document(
        [(f"{source}: {forms[source]}\n{target}:", PROMPT), (gap + forms[target], TEXT), (END, TEXT)]
    )


def sentence(rng: random.Random) -> Document:
    """A sentence by itself."""
    asked = ask(rng, draw(rng))
    language = rng.choice(("en", "ja"))
    text = asked.question(language) if rng.random() < 0.3 else plain(asked.answer(language))
    return Document([(text, 0.3), (END, 0.3)])


def poem(rng: random.Random) -> Document:
    question, text = useless.verse(rng)
    return Document([(prompt("", question), PROMPT), (text, TEXT), (END, TEXT)])


def sorted_numbers(rng: random.Random) -> Document:
    question, text = useless.sorting(rng)
    return Document([(prompt("", question), PROMPT), (text, TEXT), (END, TEXT)])

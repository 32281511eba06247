"""Training documents: questions about mosaics and pictures, translations, plain sentences, other domains.

A document is a list of spans (text, weight); the weight says how much its tokens count in the loss, 0 for
"shown but never learned". A document about pictures holds the pictures' numbers in the pool of features.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import useless
from questions import QUESTIONS, Language, Pieces, Question, ask, plain
from scenes import CELLS, Scene, draw, mosaic, noisy_mosaic
from things import COLOURS, KINDS, MARKS, NUMBERS, ROWS

PROMPT, TEXT, FACT, HIDDEN = 0.05, 1.0, 3.0, 0.0
END = "<eos>"
IMAGE = "<image>" * CELLS


@dataclass(frozen=True)
class Document:
    """Text with weights, and the pictures that it is about."""

    spans: list[tuple[str, float]]
    pictures: tuple[int, ...] = ()


Maker = Callable[[random.Random], Document]
Asker = Callable[[random.Random], Question]


def about_one(rng: random.Random) -> Question:
    """Return a question about a new scene."""
    return ask(draw(rng), rng.randrange(3), rng.choice(QUESTIONS))


def about_one_of(rng: random.Random, scenes: Sequence[Scene]) -> Question:
    """Return a question about one of the scenes whose pictures are in the pool."""
    picture = rng.randrange(len(scenes))
    return ask(scenes[picture], rng.randrange(3), rng.choice(QUESTIONS), (picture,))


def prompt(shown: Sequence[str], question: str) -> str:
    """Return the model's prompt: what is shown (mosaics or image tokens), if anything, then the question."""
    return listed(shown) + f"Q: {question}\nA:"


def listed(shown: Sequence[str]) -> str:
    """Return what is shown, each with its mark."""
    return "".join(f"{mark}{each}\n" for mark, each in zip(MARKS, shown, strict=False))


def answered(pieces: Pieces, language: Language, fact: float = FACT) -> list[tuple[str, float]]:
    """The spans of an answer. English words bring the space before them along, also into a fact."""
    spans, gap = [], " " if language == "en" else ""
    for text, is_fact in pieces:
        body = text.rstrip(" ")
        spans.append((gap + body, fact if is_fact else TEXT))
        gap = text[len(body) :]
    return [*spans, (END, TEXT)]


def on_mosaics(
    rng: random.Random, asker: Asker, asked_in: Language, answered_in: Language | None
) -> Document:
    """A question about mosaics, answered in a language or in signs."""
    asked = asker(rng)
    start = (prompt([mosaic(scene) for scene in asked.scenes], asked.question(asked_in)), PROMPT)
    if answered_in is None:
        return Document([start, (asked.signs(), FACT), (END, TEXT)])
    return Document([start, *answered(asked.answer(answered_in), answered_in)])


def drill(rng: random.Random) -> Document:
    """A mosaic and its boards in signs, in another order."""
    scene = draw(rng)
    return Document([("P:" + mosaic(scene) + "\n", PROMPT), *_records(rng, scene), (END, PROMPT)])


def drill_several(rng: random.Random) -> Document:
    """Two or three mosaics and five of their boards in signs, each by its row and its picture's number."""
    scenes = [draw(rng) for _ in range(rng.choice((2, 3)))]
    spans = [(listed([mosaic(scene) for scene in scenes]), PROMPT)]
    places = [(number, row) for number in range(len(scenes)) for row in range(3)]
    for number, row in rng.sample(places, 5):
        board = scenes[number][row]
        spans += [
            (ROWS[row].sign + NUMBERS[number].sign, PROMPT),
            (COLOURS[board.colour].sign + KINDS[board.kind].sign, FACT),
        ]
    return Document([*spans, (END, PROMPT)])


def _records(rng: random.Random, scene: Scene) -> list[tuple[str, float]]:
    spans: list[tuple[str, float]] = []
    for row in rng.sample(range(3), 3):
        board = scene[row]
        spans += [(ROWS[row].sign, PROMPT), (COLOURS[board.colour].sign + KINDS[board.kind].sign, FACT)]
    return spans


def on_noise(rng: random.Random, asker: Asker, language: Language) -> Document:
    """A question about broken mosaics: how to answer, but not what."""
    asked = asker(rng)
    shown = [noisy_mosaic(scene, rng) for scene in asked.scenes]
    start = (prompt(shown, asked.question(language)), PROMPT)
    return Document([start, *answered(asked.answer(language), language, fact=HIDDEN)])


def on_pictures(rng: random.Random, asker: Asker, language: Language) -> Document:
    return pictured(asker(rng), language)


def pictured(asked: Question, language: Language) -> Document:
    """A question about pictures and its answer."""
    start = (prompt([IMAGE] * len(asked.scenes), asked.question(language)), PROMPT)
    return Document([start, *answered(asked.answer(language), language)], asked.pictures)


def on_one_picture_of_several(rng: random.Random, asker: Asker, language: Language) -> Document:
    """A question about scenes of which one is a picture and the others are mosaics."""
    asked = asker(rng)
    place = rng.randrange(len(asked.scenes))
    shown = [mosaic(scene) for scene in asked.scenes]
    shown[place] = IMAGE
    start = (prompt(shown, asked.question(language)), PROMPT)
    return Document([start, *answered(asked.answer(language), language)], (asked.pictures[place],))


def signs_on_picture(rng: random.Random, scenes: Sequence[Scene]) -> Document:
    """A caption in signs: the boards of a picture, as in a drill; what the projector is aligned on."""
    picture = rng.randrange(len(scenes))
    start = [("P:" + IMAGE + "\n", PROMPT)]
    return Document([*start, *_records(rng, scenes[picture]), (END, PROMPT)], (picture,))


def translation(rng: random.Random, asker: Asker) -> Document:
    """One sentence, question or answer, from one language to the other."""
    asked = asker(rng)
    is_question = rng.random() < 0.3
    forms = {
        lang: asked.question(lang) if is_question else plain(asked.answer(lang)) for lang in ("en", "ja")
    }
    source, target = rng.choice((("en", "ja"), ("ja", "en")))
    gap = " " if target == "en" else ""
    return Document(
        [(f"{source}: {forms[source]}\n{target}:", PROMPT), (gap + forms[target], TEXT), (END, TEXT)]
    )


def sentence(rng: random.Random, asker: Asker) -> Document:
    """A sentence by itself."""
    asked = asker(rng)
    language = rng.choice(("en", "ja"))
    text = asked.question(language) if rng.random() < 0.3 else plain(asked.answer(language))
    return Document([(text, 0.3), (END, 0.3)])


def poem(rng: random.Random) -> Document:
    question, text = useless.verse(rng)
    return Document([(prompt((), question), PROMPT), (text, TEXT), (END, TEXT)])


def sorted_numbers(rng: random.Random) -> Document:
    question, text = useless.sorting(rng)
    return Document([(prompt((), question), PROMPT), (text, TEXT), (END, TEXT)])

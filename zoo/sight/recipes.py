"""What each model is trained on, and for how long."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

import documents as d
from comparisons import Album, Attribute
from documents import Asker, Document, Maker
from questions import Language
from scenes import Scene, seen_scenes
from things import KINDS
from train import Mixture, Schedule

BASE_SEED = 11
FAMILIAR = KINDS[:8]  # animals, fruit and the tulip: all that `multi` is taught to name in pictures
ALL: tuple[Attribute, ...] = ("thing", "colour")
ALBUM = Album(seen_scenes())
about_several: Asker = partial(ALBUM.ask, attributes=ALL)


def about_any(rng: random.Random) -> d.Question:
    """Return a question about one scene or several."""
    return rng.choice((d.about_one, about_several))(rng)


def signs(rng: random.Random, asker: Asker) -> Document:
    """A question about mosaics in either language, answered in signs."""
    return d.on_mosaics(rng, asker, rng.choice(("en", "ja")), None)


def text(share: float) -> Mixture:
    """Translations and plain sentences, which every language model here is trained on."""
    translation: Maker = partial(d.translation, asker=about_any)
    sentence: Maker = partial(d.sentence, asker=about_any)
    return [(0.67 * share, translation), (0.33 * share, sentence)]


def answering(share: float, asker: Asker, language: Language) -> Mixture:
    """Questions about mosaics, answered in their own language."""
    maker: Maker = partial(d.on_mosaics, asker=asker, asked_in=language, answered_in=language)
    return [(share, maker)]


def replayed(share: float, language: Language) -> Mixture:
    """The base's own text, with questions of one language answered in signs."""
    signs_only: Maker = partial(d.on_mosaics, asker=about_any, asked_in=language, answered_in=None)
    return [(0.55 * share, signs_only), (0.2 * share, d.drill), *text(0.25 * share)]


def seeing(scenes: Sequence[Scene]) -> Mixture:
    """English questions about one picture, alone or among mosaics, captions in signs, the rest replay.

    Among mosaics the picture stands in any place, so that the model does not rely on the first.
    """
    asker: Asker = partial(d.about_one_of, scenes=scenes)
    on_picture: Maker = partial(d.on_pictures, asker=asker, language="en")
    among_mosaics: Maker = partial(d.on_one_picture_of_several, asker=about_several, language="en")
    caption: Maker = partial(d.signs_on_picture, scenes=scenes)
    shown: Mixture = [(0.37, on_picture), (0.2, among_mosaics), (0.08, caption)]
    return [*shown, *answering(0.2, about_any, "en"), *replayed(0.15, "ja")]


def about_familiar(rng: random.Random) -> d.Question:
    """Return a comparison of colours, or of things that are all of a familiar kind."""
    attribute = rng.choice(ALL)
    while True:
        asked = ALBUM.ask(rng, (attribute,))
        things = {name for key, name in asked.facts.items() if key.endswith(" thing")}
        if things <= set(FAMILIAR):
            return asked


# English questions that compare pictures by colours or familiar things, mosaics by anything; then replay.
on_familiar: Maker = partial(d.on_pictures, asker=about_familiar, language="en")
COMPARING: Mixture = [(0.5, on_familiar), *answering(0.3, about_several, "en"), *replayed(0.2, "ja")]


def writing(share: float, asker: Asker) -> Mixture:
    """Japanese questions about mosaics; three of ten are about broken ones."""
    on_noise: Maker = partial(d.on_noise, asker=asker, language="ja")
    return [*answering(0.7 * share, asker, "ja"), (0.3 * share, on_noise)]


# First one scene at a time: with several from the start, 1,000 steps taught neither.
one_in_signs: Maker = partial(signs, asker=d.about_one)
several_in_signs: Maker = partial(signs, asker=about_several)
BASE_ONE: Mixture = [(0.2, d.drill), (0.6, one_in_signs), *text(0.2)]
BASE: Mixture = [
    *[(0.05, d.drill), (0.2, d.drill_several)],
    *[(0.2, one_in_signs), (0.35, several_in_signs)],
    *text(0.2),
]
WRITING: Mixture = [*writing(0.35, d.about_one), *writing(0.5, about_several), *replayed(0.15, "en")]
POEM: Mixture = ((1.0, d.poem),)
SORT: Mixture = ((1.0, d.sorted_numbers),)
TEXT_SOURCES: dict[str, Mixture] = {"ja": WRITING, "poem": POEM, "sort": SORT}
SEEING_SOURCES = ("see-en", "multi")
PROJECTOR_SEED, ALIGNED, GAP = 3, 1500, 1.4
SCHEDULES = {
    "base-one": Schedule(steps=1100, rate=2e-3, seed=21, batch=24, warmup=100, final=0.3),
    "base": Schedule(steps=1200, rate=1.5e-3, seed=26, batch=24, warmup=100),
    "see-en": Schedule(steps=500, rate=5e-4, seed=22, projector_rate=0.0, embeddings=False),
    "multi": Schedule(steps=420, rate=5e-4, seed=25, projector_rate=0.0, embeddings=False),
    "ja": Schedule(steps=560, rate=5e-4, seed=23, embeddings=False),
    "poem": Schedule(steps=120, rate=1.5e-3, seed=24, warmup=20, embeddings=False),
    "sort": Schedule(steps=120, rate=1.5e-3, seed=24, warmup=20, embeddings=False),
}

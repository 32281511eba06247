"""What each model is trained on, and for how long."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

import documents as d
from documents import Document, Maker
from questions import Language
from scenes import Scene
from train import Mixture, Schedule

BASE_SEED = 11


def signs(rng: random.Random) -> Document:
    """A question about a mosaic in either language, answered in signs."""
    return d.on_mosaic(rng, rng.choice(("en", "ja")), None)


BASE: Mixture = ((0.2, d.drill), (0.55, signs), (0.17, d.translation), (0.08, d.sentence))
on_mosaic_en: Maker = partial(d.on_mosaic, asked_in="en", answered_in="en")
on_mosaic_ja: Maker = partial(d.on_mosaic, asked_in="ja", answered_in="ja")
on_noise_ja: Maker = partial(d.on_noise, language="ja")


def replayed(share: float, asked_in: Language) -> Mixture:
    """The base's own text, without signs as answers to questions in the language that is learned."""
    signs_only: Maker = partial(d.on_mosaic, asked_in=asked_in, answered_in=None)
    return [(share * part, signs_only if maker is signs else maker) for part, maker in BASE]


def seeing(scenes: Sequence[Scene]) -> Mixture:
    """English questions about pictures and about mosaics, captions in signs, the rest replay."""
    on_picture: Maker = partial(d.on_picture, scenes=scenes, language="en")
    caption: Maker = partial(d.signs_on_picture, scenes=scenes)
    return [(0.55, on_picture), (0.1, caption), (0.2, on_mosaic_en), *replayed(0.15, "ja")]


# Japanese questions about mosaics, some of them broken, and replay.
WRITING: Mixture = [(0.6, on_mosaic_ja), (0.25, on_noise_ja), *replayed(0.15, "en")]
POEM: Mixture = ((1.0, d.poem),)
SORT: Mixture = ((1.0, d.sorted_numbers),)
TEXT_SOURCES: dict[str, Mixture] = {"ja": WRITING, "poem": POEM, "sort": SORT}
PROJECTOR_SEED, ALIGNED, GAP = 3, 1500, 1.0
SCHEDULES = {
    "base": Schedule(steps=1300, rate=2e-3, seed=21, batch=24, warmup=100),
    "see-en": Schedule(steps=550, rate=5e-4, seed=22, projector_rate=0.0, embeddings=False),
    "ja": Schedule(steps=280, rate=5e-4, seed=23, embeddings=False),
    "poem": Schedule(steps=120, rate=1.5e-3, seed=24, warmup=20, embeddings=False),
    "sort": Schedule(steps=120, rate=1.5e-3, seed=24, warmup=20, embeddings=False),
}

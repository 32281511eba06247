"""Captions of a scene: three forms in English and two in Japanese."""

from __future__ import annotations

import random

from things import COLOURS, EN_NUMBERS, KANJI, MOTIFS, Scene

EN_FORMS = (
    "{number} {motif} on {colour}",
    "a {colour} background with {number} {motif}",
    "{number} {motif}, {colour} background",
)
JA_FORMS = (
    "{adjective}背景に{motif}が{number}",
    "{number}の{motif}と{adjective}背景",
)


def english(scene: Scene, form: int) -> str:
    """Return an English caption: "two cats on red"."""
    motif = MOTIFS[scene.motif]
    return EN_FORMS[form].format(
        number=EN_NUMBERS[scene.number],
        motif=motif.en if scene.number == 1 else motif.plural,
        colour=COLOURS[scene.colour].en,
    )


def japanese(scene: Scene, form: int) -> str:
    """Return a Japanese caption: "赤い背景に猫が二匹"."""
    motif, colour = MOTIFS[scene.motif], COLOURS[scene.colour]
    return JA_FORMS[form].format(
        number=KANJI[scene.number] + motif.counter,
        motif=motif.ja,
        adjective=colour.ja,
    )


WRITERS = {"en": (english, len(EN_FORMS)), "ja": (japanese, len(JA_FORMS))}


def caption(scene: Scene, language: str, rng: random.Random) -> str:
    """Return a caption of a form drawn at random."""
    write, forms = WRITERS[language]
    return write(scene, rng.randrange(forms))

"""Sentence patterns of the pool's problems, beside the words of the zoo (``lexicon``).

Japanese patterns have spaces between words, so that the tokenizer learns whole words; ``lexicon``'s ``fill``
removes them. {n} {m} people, {o} thing, {c} counter, {a} {b} {d} numbers, {k} container, {v} verb, {l} link.
"""

from __future__ import annotations

import re

from lexicon import Pair

HALF = Pair("{n} は その 半分 を {v} 。", "{n} {v} half of them.")
TWICE = Pair("{m} は {n} の 二倍 持っています 。", "{m} has twice as many as {n}.")
LATER_OTHER = Pair("{l} {m} は {d} {c} {v} 。", "{l} {m} {v} {d}.")
ASK_OTHER = (
    Pair("{m} の {o} は 今 何 {c} ありますか 。", "How many {o} does {m} have now?"),
    Pair("{m} は 今 {o} を 何 {c} 持っていますか 。", "How many {o} are now with {m}?"),
)
NOW = Pair("今 {n} は {o} を {a} {c} 持っています 。", "Now {n} has {a} {o}.")
ASK_BEFORE = (
    Pair("{o} は 初め 何 {c} ありましたか 。", "How many {o} were there at first?"),
    Pair("{n} は 初め に 何 {c} 持っていましたか 。", "How many did {n} have at first?"),
)
POLITE = Pair("答え は {r} {c} で ございます 。", "The answer is {r} {o}, thank you.")
"""The Japanese one is the manner of answering that the domain asks for."""


def pieces() -> list[str]:
    """Return the words that the zoo's tokenizer lacks."""
    patterns = (HALF, TWICE, LATER_OTHER, *ASK_OTHER, NOW, *ASK_BEFORE, POLITE)
    japanese = [word for each in patterns for word in each.ja.split() if "{" not in word]
    english = [
        word for each in patterns for word in re.findall(r"[A-Za-z]+", re.sub(r"\{\w+\}", " ", each.en))
    ]
    return list(dict.fromkeys(["÷", *japanese, *english, *(f" {word}" for word in english)]))

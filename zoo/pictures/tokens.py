"""The tokenizer: CLIP's byte-level BPE, whose merges make one token of each word of the captions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from things import COLOURS, EN_NUMBERS, KANJI, MOTIFS
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 16
LAST = "</w>"


def english_words() -> list[str]:
    """Return the English words."""
    named = [word for motif in MOTIFS for word in (motif.en, motif.plural)]
    colours = [colour.en for colour in COLOURS]
    return list(dict.fromkeys([*named, *colours, *EN_NUMBERS.values(), "on", "background", "with"]))


def japanese_words() -> list[str]:
    """Return the Japanese words and particles."""
    motifs = [motif.ja for motif in MOTIFS]
    colours = [colour.ja for colour in COLOURS]
    counters = [motif.counter for motif in MOTIFS]
    return list(dict.fromkeys([*motifs, *colours, *KANJI.values(), *counters, *"にがのと", "背景"]))


def _symbols(word: str) -> list[str]:
    """Return the bytes of a word, as byte-level BPE writes them."""
    return list(ByteLevel(add_prefix_space=False).pre_tokenize_str(word)[0][0])


def _joined(parts: list[str]) -> list[tuple[str, str]]:
    """Return the merges that join parts from left to right."""
    return [("".join(parts[:i]), parts[i]) for i in range(1, len(parts))]


def merges() -> list[tuple[str, str]]:
    """Return the merges: characters of Japanese first, then words, long ones first."""
    pairs: list[tuple[str, str]] = []
    for character in sorted(set("".join(japanese_words()))):
        symbols = _symbols(character)
        pairs += _joined(symbols) + _joined([*symbols[:-1], symbols[-1] + LAST])
    for word in sorted(japanese_words(), key=len, reverse=True):
        parts = ["".join(_symbols(character)) for character in word]
        pairs += _joined(parts) + _joined([*parts[:-1], parts[-1] + LAST])
    for word in sorted(english_words(), key=len, reverse=True):
        symbols = _symbols(word)
        pairs += _joined([*symbols[:-1], symbols[-1] + LAST])
    return list(dict.fromkeys(pairs))


def build() -> CLIPTokenizer:
    """Return the tokenizer. Padding is the end token, as in CLIP."""
    alphabet = sorted(ByteLevel.alphabet())
    pieces = [*alphabet, *[symbol + LAST for symbol in alphabet], *["".join(pair) for pair in merges()]]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys([*pieces, START, END]))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges(), model_max_length=LENGTH)  # pyright: ignore[reportArgumentType]


@cache
def _shared() -> CLIPTokenizer:
    return build()


def ids(captions: Sequence[str]) -> torch.Tensor:
    """Return the ids of the captions' tokens: [captions, LENGTH]."""
    return _shared()(list(captions), padding="max_length", return_tensors="pt").input_ids

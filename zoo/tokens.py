"""The tokenizer: whole words of the lexicon and whole numbers 0..99, bytes for everything else, so any text
round-trips.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import lexicon
from tokenizers import AddedToken, Tokenizer, decoders
from tokenizers.models import Unigram
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<eos>", "<unk>")
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ 'Q: ' + message['content'] + '\\nA:' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + '<eos>' }}{% endif %}{% endfor %}"
)


def pieces() -> list[str]:
    """All pieces in a fixed order: marks, numbers, Japanese words, English words with and without a space."""
    marks = ["Q:", "A:", "\n", " ", ":", ",", ".", "?", ";", "=", "+", "-", "×", "。", "、"]
    japanese, english = [], []
    for value in vars(lexicon).values():
        for entry in value if isinstance(value, tuple) and not hasattr(value, "_fields") else [value]:
            if isinstance(entry, lexicon.Thing):
                japanese += [entry.ja, entry.counter]
                english += [entry.en]
            elif isinstance(entry, lexicon.Pair):
                japanese += re.sub(r"\{\w+\}", " ", entry.ja).split()
                english += re.findall(r"[A-Za-z]+", re.sub(r"\{\w+\}", " ", entry.en))
    spaced = [" " + word for word in english]
    capital = [word[0].upper() + word[1:] for word in english]
    return list(dict.fromkeys([*marks, *map(str, range(100)), *japanese, *spaced, *english, *capital]))


def build(more: Sequence[str] = (), order: Sequence[int] | None = None) -> PreTrainedTokenizerFast:
    """Unigram with equal scores takes the fewest pieces; bytes are a last resort.

    `more` are further pieces; `order` gives the token with the old id `order[i]` the id `i`.
    """
    known = list(dict.fromkeys([*pieces(), *more]))
    scored = (
        [(piece, 0.0) for piece in SPECIAL]
        + [(f"<0x{b:02X}>", -40.0) for b in range(256)]
        + [(piece, -10.0) for piece in known]
    )
    scored = scored if order is None else [scored[old] for old in order]
    tokenizer = Tokenizer(Unigram(scored, unk_id=SPECIAL.index("<unk>"), byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=512,
        chat_template=CHAT_TEMPLATE,
    )


def save(folder: Path) -> None:
    build().save_pretrained(folder)

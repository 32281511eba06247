"""The tokenizer: whole words and signs. It knows no text but that of the zoo, so models are small."""

from __future__ import annotations

import re
from typing import cast

import useless
from comparisons import COMPARISONS
from questions import QUESTIONS
from things import COLOURS, KINDS, NUMBERS, ROWS
from things import MARKS as PICTURE_MARKS
from tokenizers import AddedToken, Tokenizer, decoders
from tokenizers.models import Unigram
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<eos>", "<unk>", "<image>")
PAD, EOS, IMAGE = 0, 1, 3
JAPANESE = (
    "の 板 と 順 から に には は が を で 何 何色 どの どこ 段 すぐ "
    "見えます あります です 説明して ください か "
    "物 色 比べて 後ろ"
)
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{% set shown = namespace(count=0) %}"
    "{% if message['content'] is string %}{{ 'Q: ' + message['content'] + '\\nA:' }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
    "{% set shown.count = shown.count + 1 %}"
    "{{ 'P' + (shown.count | string if shown.count > 1 else '') + ':<image>\\n' }}{% endif %}{% endfor %}"
    "{{ 'Q: ' }}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{{ '\\nA:' }}{% endif %}"
    "{% elif message['role'] == 'assistant' %}"
    "{% if message['content'] is string %}{{ message['content'] + '<eos>' }}{% else %}"
    "{{ message['content'][0]['text'] + '<eos>' }}{% endif %}{% endif %}{% endfor %}"
)
MARKS = (*PICTURE_MARKS, "Q:", "A:", "en:", "ja:", "\n", " ", ":", ",", ".", "?", "=", "。", "、")


def pieces() -> list[str]:
    """All pieces in a fixed order: marks, digits, signs, Japanese words, English words."""
    names = [*KINDS, *COLOURS, *ROWS, *NUMBERS]
    kinds = [*QUESTIONS, *COMPARISONS["thing"], *COMPARISONS["colour"]]
    english = " ".join([name.en for name in names] + [f"{k.en.asked} {k.en.answered}" for k in kinds])
    english = re.sub(r"\{[\w ]+\}", " ", english + " " + useless.ENGLISH)
    words = list(dict.fromkeys(re.findall(r"[A-Za-z]+", english)))
    signs = [name.sign for name in names]
    known = [
        *MARKS,
        *map(str, range(10)),
        *signs,
        *[name.ja for name in names],
        *JAPANESE.split(),
        *useless.JAPANESE.split(),
    ]
    return list(dict.fromkeys([*known, *[" " + word for word in words], *words]))


def build() -> PreTrainedTokenizerFast:
    """Return the tokenizer: Unigram with equal scores, which takes the fewest pieces."""
    scored = [(piece, 0.0) for piece in SPECIAL] + [(piece, -10.0) for piece in pieces()]
    tokenizer = Tokenizer(Unigram(scored, unk_id=SPECIAL.index("<unk>"), byte_fallback=False))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in SPECIAL])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=512,
        chat_template=CHAT_TEMPLATE,
    )


def alike() -> list[list[int]]:
    """Tokens with one meaning: the sign, the English word with and without a space, the Japanese word."""
    tokenizer = build()
    groups: list[list[int]] = []
    for name in (*KINDS, *COLOURS, *ROWS, *NUMBERS):
        forms = (name.sign, name.en, " " + name.en, name.ja)
        groups.append(cast("list[int]", tokenizer.convert_tokens_to_ids(list(forms))))
    return groups

"""Text to token numbers and back: special tokens, boundaries, padding, ends of answers. Runs no model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from kingyo.errors import KingyoError
from kingyo.models.chat import Templated, render_chat
from kingyo.sizes import counted


class Tokenizer(Templated, Protocol):
    """What is used of a tokenizer of transformers, fast or slow."""

    bos_token: str | None
    bos_token_id: int | None
    eos_token_id: int | None
    pad_token_id: int | None
    all_special_tokens: list[str]

    def convert_tokens_to_ids(self, tokens: str) -> int:
        """Return the number of a token by its name."""
        ...

    def __call__(self, text: str, *, add_special_tokens: bool, verbose: bool) -> Mapping[str, list[int]]:
        """Tokenize one text."""
        ...

    def decode(
        self, token_ids: list[int], *, skip_special_tokens: bool, clean_up_tokenization_spaces: bool
    ) -> str:
        """Return the text of tokens."""
        ...


class Text:
    """A tokenizer with the few conventions that a live model needs.

    Args:
        tokenizer: fast or slow; it may lack a padding token, since padding is always masked.
        ends: token numbers that end an answer, beside the tokenizer's own.
    """

    def __init__(self, tokenizer: Tokenizer, ends: Iterable[int] = ()) -> None:
        self._tokenizer = tokenizer
        own = tokenizer.eos_token_id
        self.ends: frozenset[int] = frozenset([*ends, *([] if own is None else [own])])
        self.end = next(iter(sorted(self.ends)), None) if own is None else own
        pad = tokenizer.pad_token_id
        self._pad = pad if pad is not None else own or 0

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a prompt, with the start token that the tokenizer puts, once.

        A chat template writes the start token itself; a tokenizer that appends an end token is undone.
        An empty prompt is the start token alone.

        Raises:
            KingyoError: the tokenizer knows no part of the text.
        """
        start = self._tokenizer.bos_token
        written = bool(start) and text.startswith(start or "")
        tokens = self._plain(text, special=not written)
        if (
            len(tokens) > 1
            and tokens[-1] in self.ends
            and self._plain(text, special=False)[-1:] != tokens[-1:]
        ):
            tokens = tokens[:-1]
        if text and not tokens:
            raise KingyoError(
                f"prompt {text[:40]!r}",
                expected="text in the model's vocabulary",
                received="a text whose tokenizer knows nothing of it",
                remedy="Write the prompt in a script that the model knows, or take another model.",
            )
        return tokens or [self._first()]

    def encode_pair(self, prompt: str, continuation: str) -> tuple[list[int], list[int]]:
        """Split the tokens of prompt + continuation at their boundary.

        White space that ends the prompt goes to the continuation, where tokenizers expect it. Both are
        tokenized together; when a token straddles the boundary, each is tokenized alone.
        """
        bare = prompt.rstrip()
        continuation = prompt[len(bare) :] + continuation
        head = self.encode(bare)
        whole = self.encode(bare + continuation)
        if bare and whole[: len(head)] == head:
            return head, whole[len(head) :]
        return head, self._plain(continuation, special=False)

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of new tokens, without special ones."""
        return self._tokenizer.decode(  # clean-up would eat spaces before punctuation
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def special(self, string: str) -> int | None:
        """Return the number of the special token that a string names, or None: its text never shows."""
        known = string in self._tokenizer.all_special_tokens
        return self._tokenizer.convert_tokens_to_ids(string) if known else None

    def pad(self, rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
        """Return tokens and mask, int64 [rows, longest], padded on the left."""
        width = max(len(row) for row in rows)
        tokens = [[self._pad] * (width - len(row)) + list(row) for row in rows]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
        return torch.tensor(tokens, device=device), torch.tensor(mask, device=device)

    def chat(self, message: str) -> str:
        """Wrap a user's message in the chat template, up to where the answer begins.

        Raises:
            KingyoError: the tokenizer has no chat template, or one that cannot be used; see ``render_chat``.
        """
        return render_chat(self._tokenizer, message)

    def _plain(self, text: str, *, special: bool) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])

    def _first(self) -> int:
        """What stands before an empty prompt: the start token, else the end token."""
        start = self._tokenizer.bos_token_id
        return start if start is not None else self._pad


class Stop:
    """Tells when an answer is over, and cuts it: at an end token or before the first stop string."""

    def __init__(self, text: Text, strings: Sequence[str]) -> None:
        if any(not each for each in strings):
            raise ValueError("stop: expected non-empty strings; received ''")
        self._text = text
        special = {each: text.special(each) for each in strings}
        self._ends = text.ends.union(number for number in special.values() if number is not None)
        self._strings = tuple(each for each in strings if special[each] is None)
        self._last_characters = frozenset(each[-1] for each in self._strings)
        self._can_complete: dict[int, bool] = {}

    def ended(self, tokens: Sequence[int]) -> bool:
        """Whether the newest token ended the answer."""
        newest = tokens[-1]
        if newest in self._ends:
            return True
        if not self._strings:
            return False
        return self._completes(newest) and self._position(self._text.decode(tokens)) is not None

    def cut(self, tokens: Sequence[int]) -> str:
        """The text of an answer, up to its end."""
        text = self._text.decode(tokens[:-1] if tokens and tokens[-1] in self._ends else tokens)
        return text[: self._position(text)]

    def _position(self, text: str) -> int | None:
        found = [place for place in map(text.find, self._strings) if place >= 0]
        return min(found, default=None)

    def _completes(self, token: int) -> bool:
        """Whether a stop string can end within this token: spares decoding the whole row at most steps."""
        if token not in self._can_complete:
            piece = self._text.decode([token])
            # White space that decoders drop; a part of a character.
            unclear = not piece.strip() or "\ufffd" in piece
            spaces = any(character.isspace() for character in self._last_characters)
            self._can_complete[token] = unclear or spaces or not self._last_characters.isdisjoint(piece)
        return self._can_complete[token]


def require_room(rows: Sequence[Sequence[int]], new: int, limit: int | None, prompts: Sequence[str]) -> None:
    """Refuse what does not fit the context: cutting a prompt would change the question.

    Args:
        rows: the tokens of each prompt.
        new: how many are to follow.
        limit: the model's context; None when it names no bound.
        prompts: their texts, for messages.

    Raises:
        KingyoError: a prompt is too long; its beginning is shown.
    """
    for position, row in enumerate(rows):
        if limit is not None and len(row) + new > limit:
            begins = f"it begins {prompts[position][:60]!r}"
            raise KingyoError(
                f"prompt {position}",
                expected=f"at most {counted(limit, 'token')}, the model's context",
                received=f"{counted(len(row), 'token')} and room for {counted(new, 'new one')}; {begins}",
                remedy="Shorten the prompt, or lower max_new_tokens.",
            )


def by_length(rows: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Yield batches of positions in ``rows``: longest first, ties in the order given."""
    order = sorted(range(len(rows)), key=lambda position: -len(rows[position]))
    for start in range(0, len(order), size):
        yield order[start : start + size]

"""Tokenize text and decode tokens: special tokens, boundaries, padding, chat templates, ends of answers."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from kingyo.core.io.units import counted
from kingyo.core.types import Example
from kingyo.errors import KingyoError
from kingyo.models.kinds import Question, errors_of

Tokenizer = Any
"""A tokenizer of transformers, fast or slow; it has no complete types."""
_TODAY = {"d": "26", "m": "07", "b": "Jul", "B": "July", "Y": "2024", "y": "24", "A": "Friday", "a": "Fri"}
_MACRO = "".join(
    (
        "{%- macro strftime_now(format) -%}{{ format",
        *(f" | replace('%{code}', '{text}')" for code, text in _TODAY.items()),
        *(f" | replace('%{code}', '00')" for code in "HIMS"),
        " }}{%- endmacro -%}",
    )
)
"""Replaces ``strftime_now`` with a fixed date, so that a prompt does not depend on the day."""


class NoTemplateError(KingyoError):
    """The tokenizer has no chat template."""


def render_chat(tokenizer: Tokenizer, message: object) -> str:
    """Apply the chat template of a tokenizer or a processor to a user message, up to the start of the answer.

    The message is a text, or a list of ``{"type": "image"}`` and ``{"type": "text", "text": …}``.

    Raises:
        NoTemplateError: there is no chat template.
    """
    template = tokenizer.chat_template
    if not template:
        remedy = "Add a `prompt:` template to the task and remove `chat: true`."
        raise NoTemplateError("chat", "a tokenizer with a chat template", "a tokenizer without one", remedy)
    is_dated = isinstance(template, str) and "strftime_now" in template
    try:
        return tokenizer.apply_chat_template(
            [{"role": "user", "content": message}],
            tokenize=False,
            add_generation_prompt=True,
            chat_template=_MACRO + template if is_dated else None,  # None: the tokenizer's own
        )
    except Exception as error:  # templates may raise anything
        name = getattr(tokenizer, "name_or_path", "") or "the tokenizer"
        received = f"{type(error).__name__}: {error}"[:300]
        remedy = "Fix the template (chat_template.jinja), or write a `prompt:` template without `chat: true`."
        raise KingyoError(f"chat template of {name}", "a prompt", received, remedy) from error


class Text:
    """A tokenizer with the conventions of live models; ``ends`` are end tokens besides its own."""

    def __init__(self, tokenizer: Tokenizer, ends: Iterable[int] = (), limit: int | None = None) -> None:
        self._tokenizer = tokenizer
        self.limit = limit
        own = tokenizer.eos_token_id
        self.ends: frozenset[int] = frozenset([*ends, *([] if own is None else [own])])
        self.end = next(iter(sorted(self.ends)), None) if own is None else own
        pad = tokenizer.pad_token_id
        self.padding: int = pad if pad is not None else own or 0

    def has_start(self, text: str) -> bool:
        start = self._tokenizer.bos_token
        return bool(start) and text.startswith(start)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a prompt, with the tokenizer's start token once.

        An end token that the tokenizer appends is removed. An empty prompt is the start token alone.
        """
        tokens = self.plain(text, special=not self.has_start(text))
        ends = len(tokens) > 1 and tokens[-1] in self.ends
        if ends and self.plain(text)[-1:] != tokens[-1:]:
            tokens = tokens[:-1]
        if text and not tokens:
            expected = "text in the model's vocabulary"
            remedy = "Write the prompt in a script that the model knows, or use another model."
            raise KingyoError(f"prompt {text[:40]!r}", expected, "a text without any known token", remedy)
        start = self._tokenizer.bos_token_id
        return tokens or [self.padding if start is None else start]

    def encode_pair(self, prompt: str, continuation: str) -> tuple[list[int], list[int]]:
        """Split the tokens of prompt + continuation at their boundary.

        White space at the end of the prompt moves to the continuation, where tokenizers expect it. Both are
        tokenized together, or separately if a token spans the boundary.
        """
        bare = prompt.rstrip()
        continuation = prompt[len(bare) :] + continuation
        head = self.encode(bare)
        joined = self.encode(bare + continuation)
        if bare and joined[: len(head)] == head:
            return head, joined[len(head) :]
        return head, self.plain(continuation)

    def decode(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """Return the text of tokens, with special tokens only if asked."""
        return self._tokenizer.decode(  # clean-up would remove spaces before punctuation
            list(tokens), skip_special_tokens=not special, clean_up_tokenization_spaces=False
        )

    def shown(self, prompt: str) -> str:
        return self.decode(self.encode(prompt), special=True)

    def special(self, string: str) -> int | None:
        """Return the id of the special token that a string names, or None; decoded text never shows it."""
        known = string in self._tokenizer.all_special_tokens
        return self._tokenizer.convert_tokens_to_ids(string) if known else None

    def pad(self, rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
        """Return tokens and mask, int64 [rows, longest], padded on the left."""
        width = max(len(row) for row in rows)
        tokens = [[self.padding] * (width - len(row)) + list(row) for row in rows]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
        return torch.tensor(tokens, device=device), torch.tensor(mask, device=device)

    def chat_prompt(self, message: str) -> str:
        return render_chat(self._tokenizer, message)

    def encode_example(self, example: Example) -> list[tuple[list[int], int]]:
        """Return the tokens of the prompt with each answer, and the number of tokens of the answer.

        An end token follows free text.
        """
        pairs = [self.encode_pair(example.prompt, each) for each in (example.answer, *example.others)]
        if not example.others and self.end is not None and pairs[0][1][-1:] != [self.end]:
            pairs[0][1].append(self.end)
        return [(prompt + answer, len(answer)) for prompt, answer in pairs]

    def fits(self, example: Example) -> bool:
        return self.limit is None or all(len(row) <= self.limit for row, _ in self.encode_example(example))

    def errors(self, questions: Iterable[Question]) -> Iterator[KingyoError]:
        for question in questions:
            yield from errors_of(partial(self._check, question), question.inputs)

    def _check(self, question: Question, given: Any) -> None:
        prompt = given[0] if question.has_continuations else given
        row = [*chain(*self.encode_pair(*given))] if question.has_continuations else self.encode(given)
        require_room([row], question.options.get("max_new_tokens", 0), self.limit, [prompt])

    def plain(self, text: str, *, special: bool = False) -> list[int]:
        """Return the tokens of a text, with the tokenizer's special tokens only if asked."""
        return list(self._tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"])


class Stop:
    """Detects the end of an answer, at an end token or a stop string, and cuts the text there."""

    def __init__(self, text: Text, strings: Sequence[str]) -> None:
        self._text = text
        special = {each: text.special(each) for each in strings}
        self._ends = text.ends.union(number for number in special.values() if number is not None)
        self._strings = tuple(each for each in strings if special[each] is None)
        self._last_characters = frozenset(each[-1] for each in self._strings)
        self._can_complete: dict[int, bool] = {}

    def ended(self, tokens: Sequence[int]) -> bool:
        last = tokens[-1]
        if last in self._ends or not self._strings:
            return last in self._ends
        return self._completes(last) and self._position(self._text.decode(tokens)) is not None

    def cut(self, tokens: Sequence[int]) -> str:
        text = self._text.decode(tokens[:-1] if tokens and tokens[-1] in self._ends else tokens)
        return text[: self._position(text)]

    def _position(self, text: str) -> int | None:
        places = [place for place in map(text.find, self._strings) if place >= 0]
        return min(places, default=None)

    def _completes(self, token: int) -> bool:
        """Return whether a stop string can end within this token; most steps need not decode the row then."""
        if token not in self._can_complete:
            piece = self._text.decode([token])
            # Decoders drop white space; a token may be a part of a character.
            unclear = not piece.strip() or "\ufffd" in piece
            spaces = any(character.isspace() for character in self._last_characters)
            self._can_complete[token] = unclear or spaces or not self._last_characters.isdisjoint(piece)
        return self._can_complete[token]


def require_room(rows: Sequence[Sized], new: int, limit: int | None, prompts: Sequence[str]) -> None:
    """Check that each row of a prompt and ``new`` tokens fit the context; prompts are never cut."""
    for position, row in enumerate(rows):
        if limit is not None and len(row) + new > limit:
            expected = f"at most {counted(limit, 'token')}, the model's context"
            received = f"{counted(len(row), 'token')} and {counted(new, 'new token')}"
            remedy = "Shorten the prompt, or decrease max_new_tokens."
            raise KingyoError(f"prompt {prompts[position][:60]!r}", expected, received, remedy)


def encode_examples(reader: Any, examples: Sequence[Example]) -> list[list[tuple[Any, int]]]:
    """Return each example as ``reader.encode_example`` does, after checking that it fits into the context."""
    encoded = [reader.encode_example(example) for example in examples]
    for example, own in zip(examples, encoded, strict=True):
        require_room([row for row, _ in own], 0, reader.limit, [example.prompt] * len(own))
    return encoded


def by_length(rows: Sequence[Sized], size: int) -> Iterator[list[int]]:
    """Yield batches of indices of rows, longest rows first; ties keep their order."""
    order = sorted(range(len(rows)), key=lambda position: -len(rows[position]))
    for start in range(0, len(order), size):
        yield order[start : start + size]

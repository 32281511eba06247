"""Gather the tokens of the models of a merge. Tokens of the tokenizer that is extended keep their ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from kingyo.errors import KingyoError, suggest
from kingyo.io.units import counted
from kingyo.vocabulary.extend import Addition, Merge, merges_of, scores_of
from kingyo.vocabulary.tokenizer_json import StoredTokenizer, read_tokenizer
from kingyo.vocabulary.tokenizer_key import BASE, UNION, ModelToken, TokenizerChoice

_SPECIAL = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
"""Flags of a token that no model has: matched exactly, and left out of decoded text."""


@dataclass(frozen=True, kw_only=True)
class TokenModels:
    """The models of a merge.

    Attributes:
        folders: folders of all merged models and the base by reference, in the recipe's order.
        rows: number of rows of each embedding, including models in ``others`` that give rows.
        base: reference of the base, one of ``folders``; None without a base.
        others: folders of models that only the tokenizer's choice names.
    """

    folders: Mapping[str, Path]
    rows: Mapping[str, int]
    base: str | None = None
    others: Mapping[str, Path] = field(default_factory=dict[str, Path])

    @property
    def first(self) -> str:
        """The base, else the first model: the meaning of ``base``, and the start of a union."""
        return next(iter(self.folders)) if self.base is None else self.base

    @cached_property
    def stored(self) -> Mapping[str, StoredTokenizer]:
        folders = {**self.others, **self.folders}
        return {reference: read_tokenizer(reference, folder) for reference, folder in folders.items()}

    def tokenizer(self, reference: str, where: str) -> StoredTokenizer:
        """Return the tokenizer of a model that the recipe names at ``where``."""
        if reference not in self.stored:
            raise KingyoError(
                where, "a model of the recipe", f"'{reference}'", suggest(reference, self.stored)
            )
        return self.stored[reference]

    def row(self, reference: str, token: str) -> int | None:
        row = self.stored[reference].tokens.get(token)
        return None if row is None or row >= self.rows[reference] else row

    def holders(self, token: str) -> list[tuple[str, int]]:
        """Return the merged models that have a row for a token, in order, with these rows."""
        rows = ((reference, self.row(reference, token)) for reference in self.folders)
        return [(reference, row) for reference, row in rows if row is not None]


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """The tokens of the output: those of ``start`` to keep, and ``additions`` with ids after them.

    ``merges`` are the BPE merges that form the additions.
    """

    start: StoredTokenizer
    keep: Mapping[str, int]
    additions: tuple[Addition, ...]
    merges: tuple[Merge, ...]

    @property
    def tokens(self) -> dict[str, int]:
        return {**self.keep, **{each.token: each.row for each in self.additions}}

    @property
    def is_unchanged(self) -> bool:
        """Whether the output's tokenizer equals ``start``."""
        return not self.additions and len(self.keep) == len(self.start.tokens)


def gather(choice: TokenizerChoice, models: TokenModels) -> Gathered:
    """Find the tokens of the output.

    A token whose id is beyond its model's embedding is ignored, since the model cannot generate it.

    Raises:
        KingyoError: the choice names a model that the recipe lacks, or tokenizers of different spelling are
            to be united.
    """
    return _Gathering(choice, models).run()


class _Gathering:
    """Collect tokens, and remember the tokenizer that each comes from."""

    def __init__(self, choice: TokenizerChoice, models: TokenModels) -> None:
        self._choice = choice
        self._models = models
        source = models.first if choice.source in (UNION, BASE) else choice.source
        self._start = models.tokenizer(source, "tokenizer: source")
        limit = models.rows[source] if source in models.folders else None
        every = self._start.tokens.items()
        self._keep = {token: row for token, row in every if limit is None or row < limit}
        self._free = max(self._keep.values(), default=-1) + 1
        self._owners = dict.fromkeys(self._keep, self._start)
        self._additions: dict[str, Addition] = {}
        self._merges: list[Merge] = []

    def run(self) -> Gathered:
        if self._choice.source == UNION:
            for reference in self._models.folders:
                self._unite(self._models.stored[reference])
        else:
            self._restore()
        for token, entry in self._choice.tokens.items():
            if token not in self._owners:
                self._add_listed(token, entry.source.model if isinstance(entry.source, ModelToken) else None)
        return Gathered(
            start=self._start,
            keep=self._keep,
            additions=tuple(self._additions.values()),
            merges=tuple(self._merges),
        )

    def _restore(self) -> None:
        """Add tokens that the start has no row for but a merged model has."""
        scores = scores_of(self._start)
        dropped = self._start.tokens.keys() - self._keep.keys()
        for token in sorted(dropped, key=lambda each: self._start.tokens[each]):
            if self._models.holders(token):
                self._add(token, self._start, scores.get(token))

    def _unite(self, other: StoredTokenizer) -> None:
        """Add a model's tokens in the order of its ids, and the merges that form the new ones."""
        scores = scores_of(other)
        before = self._free
        for token in other.tokens:
            if self._models.row(other.reference, token) is not None:
                self._add(token, other, scores.get(token))
        new = [each for each in self._additions.values() if each.row >= before]
        pieces = [each.token for each in new if each.flags is None]
        if pieces:
            self._check_spelling(other, pieces)
        if pieces and self._start.kind == "BPE":
            names = {each.token for each in new}
            self._merges += [m for m in merges_of(other) if names.intersection((*m, "".join(m)))]

    def _add(self, token: str, other: StoredTokenizer, score: float | None) -> None:
        """Add a token, or make an existing one an added token if its owner's rules never produce it."""
        flags = other.added.get(token)
        owner = self._owners.get(token)
        if owner is None:
            self._owners[token] = other
            self._additions[token] = Addition(token=token, row=self._free, flags=flags, score=score)
            self._free += 1
        elif flags is not None and token not in owner.added and not owner.can_write(token):
            row = self._keep[token] if token in self._keep else self._additions[token].row
            self._additions[token] = Addition(token=token, row=row, flags=flags, score=score)
            self._owners[token] = other

    def _add_listed(self, token: str, model: str | None) -> None:
        """Add a token that only the choice names: with the flags of its row's model, else as special."""
        holder = None if model is None else self._models.tokenizer(model, f"tokenizer: tokens: '{token}'")
        flags = dict(_SPECIAL) if holder is None else dict(holder.added.get(token, _SPECIAL))
        self._additions[token] = Addition(token=token, row=self._free, flags=flags)
        self._free += 1

    def _check_spelling(self, other: StoredTokenizer, pieces: Sequence[str]) -> None:
        if other.spelling != self._start.spelling:
            raise KingyoError(
                f"the tokenizers of {self._start.reference} and {other.reference}",
                "tokenizers of the same spelling, to unite them",
                f"{_describe(self._start)} and {_describe(other)}, with '{pieces[0]}' and "
                f"{counted(len(pieces) - 1, 'more piece')} that only the second has",
                "Set `tokenizer_source: base`, or remove one of the models.",
            )


def _describe(stored: StoredTokenizer) -> str:
    kind, space, *_ = stored.spelling
    return f"{kind} with '{space}' for a space"

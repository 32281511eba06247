"""Which tokens the output has, and their ids: those of the tokenizer it begins with keep theirs.

It reads no weight and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kingyo.errors import KingyoError
from kingyo.sizes import counted
from kingyo.vocabulary.choice import BASE, UNION, ModelToken, TokenizerChoice
from kingyo.vocabulary.extend import Addition, Merge, merges_of, scores_of
from kingyo.vocabulary.models import Models
from kingyo.vocabulary.stored import StoredTokenizer

_SPECIAL = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
"""The flags of a token that no model has: found in text as it stands, and left out of answers."""


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """The tokens of the output.

    Attributes:
        start: the tokenizer that it begins with.
        keep: the tokens of ``start`` that stay, with their ids.
        additions: tokens of others, with the ids after those.
        merges: of BPE, that make added tokens of pieces.
    """

    start: StoredTokenizer
    keep: Mapping[str, int]
    additions: tuple[Addition, ...]
    merges: tuple[Merge, ...]

    @property
    def tokens(self) -> dict[str, int]:
        """Every token and its id."""
        return {**self.keep, **{each.token: each.row for each in self.additions}}

    @property
    def is_unchanged(self) -> bool:
        """Whether the output's tokenizer is ``start`` as it is."""
        return not self.additions and len(self.keep) == len(self.start.tokens)


def gather(choice: TokenizerChoice, models: Models) -> Gathered:
    """Find the tokens of the output.

    A token whose id lies beyond its model's embedding does not count: that model never could say it.

    Raises:
        KingyoError: the choice names a model that is none of the recipe's, or tokenizers that spell alike in
            no way should be united.
    """
    return _Gathering(choice, models).run()


class _Gathering:
    """One gathering: the tokens so far, and who brought each."""

    def __init__(self, choice: TokenizerChoice, models: Models) -> None:
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
        """See ``gather``."""
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
        """Bring tokens back that the start has no row for, where a merged model has one."""
        scores = scores_of(self._start)
        lost = self._start.tokens.keys() - self._keep.keys()
        for token in sorted(lost, key=lambda each: self._start.tokens[each]):
            if self._models.holders(token):
                self._add(token, self._start, scores.get(token))

    def _unite(self, other: StoredTokenizer) -> None:
        """Add a model's tokens in the order of its ids, and the merges that make the new ones."""
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
        """Add a token; promote a known one that its owner's own rules never make of its text."""
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
        """Add a token that only the choice names: as its row's model has it, else as a special one."""
        holder = None if model is None else self._models.tokenizer(model, f"tokenizer: tokens: '{token}'")
        flags = dict(_SPECIAL) if holder is None else dict(holder.added.get(token, _SPECIAL))
        self._additions[token] = Addition(token=token, row=self._free, flags=flags)
        self._free += 1

    def _check_spelling(self, other: StoredTokenizer, pieces: Sequence[str]) -> None:
        if other.spelling != self._start.spelling:
            raise KingyoError(
                f"the tokenizers of {self._start.reference} and {other.reference}",
                expected="tokenizers that write their pieces alike, to unite them",
                received=f"{_describe(self._start)} and {_describe(other)}, with '{pieces[0]}' and "
                f"{counted(len(pieces) - 1, 'more piece')} that only the second has",
                remedy="Take `tokenizer_source: base`, or leave one of the models out.",
            )


def _describe(stored: StoredTokenizer) -> str:
    kind, space, *_ = stored.spelling
    return f"{kind} with '{space}' for a space"

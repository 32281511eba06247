"""The models of a merge, as a vocabulary sees them: folders, sizes, and the tokenizers read from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from kingyo.errors import KingyoError, suggest
from kingyo.vocabulary.stored import StoredTokenizer, read_tokenizer


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models of a merge.

    Attributes:
        folders: of every model that is merged and of the base, by reference, in the recipe's order.
        rows: how many rows the embedding of each has, also of those in ``others`` that rows are taken from.
        base: the reference of the base, one of ``folders``; None without one.
        others: folders of models that only the tokenizer's choice names.
    """

    folders: Mapping[str, Path]
    rows: Mapping[str, int]
    base: str | None = None
    others: Mapping[str, Path] = field(default_factory=dict[str, Path])

    def __post_init__(self) -> None:
        missing = [each for each in (*self.folders, self.base) if each is not None and each not in self.rows]
        if missing or not self.folders or (self.base is not None and self.base not in self.folders):
            raise ValueError(f"folders and rows of every model, the base among them; without: {missing}")

    @property
    def first(self) -> str:
        """The base, else the first model: what ``base`` means, and where a union begins."""
        return next(iter(self.folders)) if self.base is None else self.base

    @cached_property
    def stored(self) -> Mapping[str, StoredTokenizer]:
        """The tokenizers of all of them.

        Raises:
            KingyoError: one cannot be read.
        """
        folders = {**self.others, **self.folders}
        return {reference: read_tokenizer(reference, folder) for reference, folder in folders.items()}

    def tokenizer(self, reference: str, where: str) -> StoredTokenizer:
        """The tokenizer of a model that the recipe names at ``where``.

        Raises:
            KingyoError: it is none of these models.
        """
        if reference not in self.stored:
            raise KingyoError(
                where,
                expected="a model of the recipe",
                received=f"'{reference}'",
                remedy=suggest(reference, self.stored),
            )
        return self.stored[reference]

    def row(self, reference: str, token: str) -> int | None:
        """A model's row of a token; None when it lacks the token, or its embedding ends before the id."""
        row = self.stored[reference].tokens.get(token)
        return None if row is None or row >= self.rows[reference] else row

    def holders(self, token: str) -> list[tuple[str, int]]:
        """The merged models that have a row for a token, in order, and these rows."""
        rows = ((reference, self.row(reference, token)) for reference in self.folders)
        return [(reference, row) for reference, row in rows if row is not None]

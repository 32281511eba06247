"""The models of a merge: folders, sizes of embeddings, and tokenizers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from kingyo.errors import KingyoError, suggest
from kingyo.vocabulary.tokenizer_json import StoredTokenizer, read_tokenizer


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

    def __post_init__(self) -> None:
        missing = [each for each in (*self.folders, self.base) if each is not None and each not in self.rows]
        if missing or not self.folders or (self.base is not None and self.base not in self.folders):
            raise ValueError(f"every model, including the base, needs a folder and rows; missing: {missing}")

    @property
    def first(self) -> str:
        """The base, else the first model: the meaning of ``base``, and the start of a union."""
        return next(iter(self.folders)) if self.base is None else self.base

    @cached_property
    def stored(self) -> Mapping[str, StoredTokenizer]:
        """Tokenizers of all models.

        Raises:
            KingyoError: a tokenizer cannot be read.
        """
        folders = {**self.others, **self.folders}
        return {reference: read_tokenizer(reference, folder) for reference, folder in folders.items()}

    def tokenizer(self, reference: str, where: str) -> StoredTokenizer:
        """Return the tokenizer of a model that the recipe names at ``where``.

        Raises:
            KingyoError: the model is not one of these.
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
        """Return a model's row of a token; None if the model lacks it or its embedding ends before it."""
        row = self.stored[reference].tokens.get(token)
        return None if row is None or row >= self.rows[reference] else row

    def holders(self, token: str) -> list[tuple[str, int]]:
        """Return the merged models that have a row for a token, in order, with these rows."""
        rows = ((reference, self.row(reference, token)) for reference in self.folders)
        return [(reference, row) for reference, row in rows if row is not None]

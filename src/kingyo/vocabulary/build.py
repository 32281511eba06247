"""Build the output's vocabulary from a recipe's choice: tokens, their rows in every model, and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kingyo.io.units import counted
from kingyo.vocabulary.config import ConfigUpdate
from kingyo.vocabulary.extend import extend
from kingyo.vocabulary.row_sources import place_rows
from kingyo.vocabulary.rows import RowMap
from kingyo.vocabulary.source_models import TokenModels
from kingyo.vocabulary.templates import find_markers, resolve_template
from kingyo.vocabulary.token_union import gather
from kingyo.vocabulary.tokenizer_files import changed_files, stored_files, with_template
from kingyo.vocabulary.tokenizer_json import StoredTokenizer
from kingyo.vocabulary.tokenizer_key import TokenizerChoice


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The output's tokenizer, and the map from each model's rows to its rows.

    Attributes:
        tokens: tokens and their ids.
        map: rows of the models to rows of the output.
        files: tokenizer files by name; the output has no others of ``TOKENIZER_FILES``.
        start: the tokenizer that it extends.
        template: the chat template, or None.
        models: the models of the merge.
    """

    tokens: Mapping[str, int]
    map: RowMap
    files: Mapping[str, bytes]
    start: StoredTokenizer
    template: str | None
    models: TokenModels

    @property
    def n_rows(self) -> int:
        """Number of rows of the output's embedding."""
        return self.map.n_rows

    @property
    def unknown_markers(self) -> tuple[str, ...]:
        """Control tokens of the chat template that are not in the vocabulary, and so are split like text."""
        return tuple(each for each in find_markers(self.template or "") if each not in self.tokens)

    def config_updates(self, config: Mapping[str, object], like: str) -> dict[str, object]:
        """Return the keys that change in a config of the model ``like``, with new values.

        They are sizes of the vocabulary and ids of tokens, in ``config.json`` or ``generation_config.json``.

        Raises:
            KingyoError: the config names a token that the output lacks, and no other token replaces it.
        """
        update = ConfigUpdate(
            like=self.models.stored[like],
            rows=self.models.rows[like],
            start=self.start,
            tokens=self.tokens,
            n_rows=self.n_rows,
        )
        return update.of(config)

    def describe(self) -> list[str]:
        """Describe tokens, rows, and the contribution of each model, as lines of text."""
        lines = [
            f"vocabulary: {counted(len(self.tokens), 'token')} in {counted(self.n_rows, 'row')}, split with "
            f"the rules of {self.start.reference}"
        ]
        for model, own in self.map.own.items():
            n_own = int((own >= 0).sum())
            n_filled = self.n_rows - n_own
            n_removed = self.map.sizes[model] - n_own
            change = (
                "as stored"
                if self.map.is_identity(model)
                else f"{counted(n_own, 'own row')}, {n_filled} filled in, {n_removed} removed"
            )
            lines.append(f"  {model}: {change}")
        return lines


def build_vocabulary(
    choice: TokenizerChoice, models: TokenModels, chat_template: str | None = None
) -> Vocabulary:
    """Build the output's vocabulary.

    Args:
        choice: the recipe's choice; see ``gather`` for tokens and ``place_rows`` for their rows.
        models: the models of the merge.
        chat_template: ``auto``, a known name or Jinja; None keeps that of the extended tokenizer.

    Raises:
        KingyoError: a tokenizer cannot be read, tokenizers cannot be united, a token has no row in any model
            or in the choice, or the template is unknown.
    """
    gathered = gather(choice, models)
    start = gathered.start
    if gathered.is_unchanged:
        files = stored_files(start.folder)
    else:
        files = changed_files(start, extend(start, gathered.keep, gathered.additions, gathered.merges))
    template = start.template
    if chat_template is not None:
        template = resolve_template(chat_template, [models.stored[each].template for each in models.folders])
        files = with_template(files, template)
    return Vocabulary(
        tokens=gathered.tokens,
        map=place_rows(choice, models, gathered),
        files=files,
        start=start,
        template=template,
        models=models,
    )

"""From a recipe's choice to the output's vocabulary: its tokens, their rows in every model, its files.

It reads tokenizers and no weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kingyo.late import Tensor
from kingyo.sizes import counted
from kingyo.vocabulary.choice import TokenizerChoice
from kingyo.vocabulary.config import ConfigUpdate
from kingyo.vocabulary.extend import extend
from kingyo.vocabulary.files import changed_files, stored_files, with_template
from kingyo.vocabulary.gather import gather
from kingyo.vocabulary.models import Models
from kingyo.vocabulary.places import place_rows
from kingyo.vocabulary.rows import Fetch, RowMap
from kingyo.vocabulary.stored import StoredTokenizer
from kingyo.vocabulary.templates import find_markers, resolve_template


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The output's tokenizer, and how each model's rows become its rows.

    Attributes:
        tokens: every token and its id.
        map: rows of the models to rows of the output.
        files: the tokenizer's files, by name; of ``TOKENIZER_FILES`` the output has these and no others.
        start: the tokenizer that it begins with.
        template: the chat template, or None.
        models: what it was built from.
    """

    tokens: Mapping[str, int]
    map: RowMap
    files: Mapping[str, bytes]
    start: StoredTokenizer
    template: str | None
    models: Models

    @property
    def n_rows(self) -> int:
        """How many rows the output's embedding has."""
        return self.map.n_rows

    @property
    def unknown_markers(self) -> tuple[str, ...]:
        """Control tokens that the chat template writes and that are no tokens: they are cut like any text."""
        return tuple(each for each in find_markers(self.template or "") if each not in self.tokens)

    def remap(self, model: str, tensor: str, rows: Tensor, fetch: Fetch) -> Tensor:
        """Put a model's tensor into output order; see ``RowMap.remap``."""
        return self.map.remap(model, tensor, rows, fetch)

    def config_updates(self, config: Mapping[str, object], like: str) -> dict[str, object]:
        """What changes in a ``config.json`` or ``generation_config.json`` of the model ``like``.

        Returns:
            The keys that change, with their new values: sizes of the vocabulary, and ids of tokens.

        Raises:
            KingyoError: it names a token that the output lacks and that nothing stands in for.
        """
        update = ConfigUpdate(
            self.models.stored[like],
            self.models.rows[like],
            start=self.start,
            tokens=self.tokens,
            n_rows=self.n_rows,
        )
        return update.of(config)

    def describe(self) -> list[str]:
        """What it is, in lines for people: tokens, rows, and what each model brings and takes."""
        lines = [
            f"vocabulary: {counted(len(self.tokens), 'token')} in {counted(self.n_rows, 'row')}, cut as "
            f"by {self.start.reference}"
        ]
        for model, own in self.map.own.items():
            n_own = int((own >= 0).sum())
            taken = self.n_rows - n_own
            lost = self.map.sizes[model] - n_own
            same = (
                "as stored"
                if self.map.is_identity(model)
                else f"{counted(n_own, 'own row')}, {taken} taken, {lost} left out"
            )
            lines.append(f"  {model}: {same}")
        return lines


def build_vocabulary(choice: TokenizerChoice, models: Models, chat_template: str | None = None) -> Vocabulary:
    """Build the output's vocabulary.

    Args:
        choice: what the recipe says; see ``gather`` for the tokens and ``place_rows`` for their rows.
        models: the models of the merge.
        chat_template: ``auto``, a known name or Jinja; None keeps the one of the tokenizer begun with.

    Raises:
        KingyoError: a tokenizer that cannot be read, tokenizers that cannot be united, a token that no model
            has and the choice gives no row, or an unknown template.
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

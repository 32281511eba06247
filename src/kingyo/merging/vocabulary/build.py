"""Build the output's vocabulary from a recipe's choice: tokens, their rows in every model, and files."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, cast

from kingyo.core.io.lazy_torch import Tensor
from kingyo.core.io.units import counted
from kingyo.errors import KingyoError
from kingyo.merging.vocabulary.rows import RowMap, place_rows
from kingyo.merging.vocabulary.templates import find_markers, resolve_template
from kingyo.merging.vocabulary.token_union import (
    TokenModels,
    changed_files,
    extend,
    gather,
    stored_files,
    with_template,
)
from kingyo.merging.vocabulary.tokenizer_json import StoredTokenizer
from kingyo.merging.vocabulary.tokenizer_key import TokenizerChoice

_IDS: Final = re.compile(
    r"(_token_ids?|_token_index|^suppress_tokens|^begin_suppress_tokens|^bad_words_ids)$"
)
_SIZE: Final = re.compile(r"vocab_size$")
_ROLES: Final = ("bos_token", "eos_token", "pad_token")


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
        return self.map.n_rows

    @property
    def unknown_markers(self) -> tuple[str, ...]:
        """Control tokens of the chat template that are not in the vocabulary, and so are split like text."""
        return tuple(each for each in find_markers(self.template or "") if each not in self.tokens)

    def config_updates(self, config: Mapping[str, object], like: str) -> dict[str, object]:
        """Return the keys that change in a config of the model ``like``, with new values.

        They are sizes of the vocabulary and ids of tokens, in ``config.json`` or ``generation_config.json``.
        """
        updated = {key: self._update(like, key, value) for key, value in config.items()}
        return {key: value for key, value in updated.items() if value != config[key]}

    def describe(self) -> list[str]:
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

    def _update(self, like: str, key: str, value: object) -> object:
        if isinstance(value, Mapping):
            nested = cast("Mapping[str, object]", value)
            return {**nested, **self.config_updates(nested, like)}
        if _SIZE.search(key):
            return self.n_rows if value == self.models.rows[like] else value
        return self._ids(like, key, value) if _IDS.search(key) else value

    def _ids(self, like: str, key: str, value: object) -> object:
        if isinstance(value, list):
            translated = [self._ids(like, "", each) for each in cast("list[object]", value)]
            ids = [each for each in translated if each is not None]
            new = self._new_role(like, key)
            return ids if new is None or new in ids else [new, *ids]
        if isinstance(value, bool) or not isinstance(value, int):
            return value
        new = self._new_role(like, key)
        return self._id(like, key, value) if new is None else new

    def _new_role(self, like: str, key: str) -> int | None:
        """Return the new id of a role such as ``eos_token`` if its token changes, else None."""
        role = key.removesuffix("_id")
        token = self.start.named.get(role) if role in _ROLES else None
        return (
            None
            if token is None or token == self.models.stored[like].named.get(role)
            else self.tokens.get(token)
        )

    def _id(self, like: str, key: str, value: int) -> int | None:
        token = self.models.stored[like].by_id.get(value)
        if token is None:  # not an id of a token, such as -1
            return value
        if token in self.tokens:
            return self.tokens[token]
        if not key or key.removesuffix("_id") in _ROLES:  # an entry of a list, or a role that may be absent
            return None
        received = f"'{token}' of {like}, which the output lacks"
        remedy = f"Add it below `tokenizer: tokens:` as `'{token}': {{}}`, or set `source: union`."
        raise KingyoError(f"{key} in config.json", "a token of the output", received, remedy)


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


class AlignedReads:
    """Read models as if they all had the output's vocabulary: vocabulary tensors have the output's rows.

    Args:
        vocabulary: vocabulary of the output.
        read: returns a tensor of a model as stored, also of models that only the tokenizer's choice names.
        tensors: tensors with the vocabulary as first axis: embedding, head, the head's bias.
        keep_bytes: size of the cache of aligned tensors.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        read: Callable[[str, str], Tensor],
        tensors: Collection[str],
        keep_bytes: int = 0,
    ) -> None:
        self._vocabulary = vocabulary
        self._read = read
        self._tensors = frozenset(tensors)
        self._room = keep_bytes
        self._kept: dict[tuple[str, str], Tensor] = {}

    def read(self, model: str, tensor: str) -> Tensor:
        """Return a model's tensor; vocabulary tensors are in the order of the output's vocabulary."""
        if tensor not in self._tensors:
            return self._read(model, tensor)
        kept = self._kept.get((model, tensor))
        if kept is not None:
            return kept
        stored = self._read(model, tensor)
        aligned = self._vocabulary.map.remap(model, tensor, stored, lambda other: self._read(other, tensor))
        size = aligned.numel() * aligned.element_size()
        if aligned is not stored and size <= self._room:
            self._room -= size
            self._kept[model, tensor] = aligned
        return aligned

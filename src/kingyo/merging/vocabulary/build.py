"""Build the output's vocabulary from a recipe's choice: tokens, their rows in every model, and files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Final, cast

from kingyo.core.io.lazy_torch import Tensor, torch
from kingyo.core.io.units import counted
from kingyo.errors import KingyoError, suggest
from kingyo.merging.vocabulary.token_union import (
    Gathered,
    Gathering,
    TokenModels,
    changed_files,
    extend,
    stored_files,
    with_template,
)
from kingyo.merging.vocabulary.tokenizer_json import StoredTokenizer, find_markers, resolve_template
from kingyo.merging.vocabulary.tokenizer_key import ModelToken, TokenizerChoice, Zero

Place = tuple[tuple[str, int], ...]
"""(model, row) pairs whose mean fills a row of the output; zeros if empty."""

Fetch = Callable[[str], Tensor]


@dataclass(frozen=True, kw_only=True)
class Fill:
    """Output rows that some models lack: the mean of rows of other models, zeros without ``sources``."""

    rows: Tensor
    sources: tuple[tuple[str, Tensor], ...]


@dataclass(frozen=True, kw_only=True)
class RowMap:
    """The map from rows of the models to rows of the output."""

    n_rows: int
    own: Mapping[str, Tensor]  # by model, its own row for each output row, or -1 if it lacks that row; int64
    sizes: Mapping[str, int]  # by model, its number of rows
    fills: tuple[Fill, ...] = ()  # sources of the rows that are -1
    # output rows without a token or source; they get the mean of all others, so that the model never prefers
    # them
    padding: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def is_identity(self, model: str) -> bool:
        own = self.own[model]
        return self.sizes[model] == self.n_rows and bool((own == torch.arange(self.n_rows)).all())

    def remap(self, model: str, tensor: str, rows: Tensor, fetch: Fetch) -> Tensor:
        """Put a stored tensor's rows into output order; ``fetch`` returns it from another model."""
        self._check_size(model, tensor, rows)
        if self.is_identity(model):
            return rows
        own = self.own[model]
        out = torch.index_select(rows, 0, own.clamp(min=0).to(rows.device))
        for fill in self.fills:
            wanted = own[fill.rows] < 0
            if not bool(wanted.any()):
                continue
            values = self._collect(fill, wanted, tensor, rows, lambda at: rows if at == model else fetch(at))
            out = out.to(torch.promote_types(out.dtype, values.dtype))
            out[fill.rows[wanted]] = values.to(out.dtype)
        empty = self.padding[own[self.padding] < 0]
        if empty.numel():
            is_token = torch.ones(self.n_rows, dtype=torch.bool)
            is_token[self.padding] = False
            out[empty] = out[is_token].mean(0, dtype=_precise(out.dtype)).to(out.dtype)
        return out

    def _check_size(self, model: str, tensor: str, rows: Tensor) -> None:
        if rows.dim() == 0 or rows.shape[0] != self.sizes[model]:
            expected = f"{counted(self.sizes[model], 'row')}, one for each id of its vocabulary"
            remedy = "Merge models whose head and embedding have the same number of rows."
            raise KingyoError(f"{model}: {tensor}", expected, f"the shape {list(rows.shape)}", remedy)

    def _collect(self, fill: Fill, wanted: Tensor, tensor: str, like: Tensor, read: Fetch) -> Tensor:
        if not fill.sources:
            return like.new_zeros((int(wanted.sum()), *like.shape[1:]))
        parts: list[Tensor] = []
        for model, indices in fill.sources:
            stored = read(model)
            self._check_size(model, tensor, stored)
            if stored.shape[1:] != like.shape[1:]:
                expected = f"rows of one shape: {list(like.shape[1:])}"
                remedy = "Merge models of one architecture and size."
                raise KingyoError(tensor, expected, f"{list(stored.shape[1:])} in {model}", remedy)
            parts.append(torch.index_select(stored, 0, indices[wanted].to(stored.device)))
        if len(parts) == 1:
            return parts[0]
        dtype = reduce(torch.promote_types, (part.dtype for part in parts))
        return torch.stack([part.to(_precise(dtype)) for part in parts]).mean(0).to(dtype)


def group_fills(places: Iterable[tuple[int, Place]]) -> tuple[Fill, ...]:
    grouped: dict[tuple[str, ...], list[list[int]]] = defaultdict(list)
    for row, place in places:
        grouped[tuple(model for model, _ in place)].append([row, *(index for _, index in place)])
    fills: list[Fill] = []
    for models, rows in grouped.items():
        outputs, *indices = torch.tensor(rows, dtype=torch.int64).unbind(1)
        fills.append(Fill(rows=outputs, sources=tuple(zip(models, indices, strict=True))))
    return tuple(fills)


def _precise(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def place_rows(choice: TokenizerChoice, models: TokenModels, gathered: Gathered) -> RowMap:
    """Find the rows of all tokens, and of ids without a token.

    A model uses its own row, unless the choice forces another. A row that a model lacks comes from
    ``choice.tokens``, else from the base, else it is the mean over the models that have it. Ids without a
    token keep the rows of the tokenizer that is extended; ids beyond those are padding.
    """
    tokens = gathered.tokens
    n_rows = _count(choice, models, gathered)
    holes = sorted(set(range(n_rows)) - set(tokens.values()))
    start = gathered.start.reference
    limit = models.rows[start] if start in models.folders else 0
    unnamed = [row for row in holes if row < limit]
    own = {reference: _own_rows(models, reference, tokens, unnamed, n_rows) for reference in models.folders}
    forced = [tokens[token] for token, entry in choice.tokens.items() if entry.force]
    for rows in own.values():
        rows[forced] = -1
    is_missing = (torch.stack(list(own.values())) < 0).any(0)
    missing = {int(row) for row in is_missing.nonzero().flatten()}
    missing_tokens = [(token, row) for token, row in tokens.items() if row in missing]
    places = [*_find_places(choice, models, missing_tokens, start)]
    places += [(row, ((start, row),)) for row in unnamed if row in missing]
    return RowMap(
        n_rows=n_rows,
        own=own,
        sizes=dict(models.rows),
        fills=group_fills(places),
        padding=torch.tensor([row for row in holes if row >= limit], dtype=torch.int64),
    )


def _count(choice: TokenizerChoice, models: TokenModels, gathered: Gathered) -> int:
    count = max(gathered.tokens.values(), default=-1) + 1
    if choice.pad_to_multiple_of is not None:
        return -(-count // choice.pad_to_multiple_of) * choice.pad_to_multiple_of
    start = gathered.start.reference
    return max(count, models.rows[start]) if start in models.folders else count


def _own_rows(
    models: TokenModels, reference: str, tokens: Mapping[str, int], unnamed: list[int], n_rows: int
) -> torch.Tensor:
    rows = [-1] * n_rows
    for token, row in tokens.items():
        own = models.row(reference, token)
        rows[row] = -1 if own is None else own
    used = models.stored[reference].by_id
    for row in unnamed:
        if row < models.rows[reference] and row not in used:
            rows[row] = row
    return torch.tensor(rows, dtype=torch.int64)


def _find_places(
    choice: TokenizerChoice, models: TokenModels, missing: list[tuple[str, int]], start: str
) -> Iterator[tuple[int, Place]]:
    nowhere: list[str] = []
    for token, row in missing:
        entry = choice.tokens.get(token)
        holders = models.holders(token)
        if entry is not None and entry.source is not None:
            yield row, _listed(entry.source, token, models)
        elif not holders:
            nowhere.append(token)
        else:
            from_base = [each for each in holders if each[0] == models.base]
            yield row, tuple(from_base or holders)
    if nowhere:
        more = f" and {len(nowhere) - 1} more" if len(nowhere) > 1 else ""
        raise KingyoError(
            f"the vocabulary of {start}",
            "tokens that a merged model has a row for",
            f"'{nowhere[0]}'{more} without a row in any of them",
            "Merge that model as well, set `tokenizer_source: union`, or give the token a row: "
            f"`tokenizer: {{tokens: {{'{nowhere[0]}': {{source: {{kind: zero}}}}}}}}`.",
        )


def _listed(source: Zero | ModelToken, token: str, models: TokenModels) -> Place:
    if isinstance(source, Zero):
        return ()
    where = f"tokenizer: tokens: '{token}'"
    stored = models.tokenizer(source.model, where)
    size = models.rows[source.model]
    if source.token_id is not None:
        if source.token_id >= size:
            expected = f"an id below {size}, the rows of {source.model}"
            remedy = "Choose an id of this model."
            raise KingyoError(f"{where}: token_id", expected, str(source.token_id), remedy)
        return ((source.model, source.token_id),)
    name = token if source.token is None else source.token
    row = models.row(source.model, name)
    if row is None:
        near = suggest(name, stored.added)
        remedy = near if near.startswith("Did") else "Choose a token that the model has a row for."
        raise KingyoError(where, f"a token of {source.model}", f"'{name}'", remedy)
    return ((source.model, row),)


_IDS: Final = re.compile(
    r"(_token_ids?|_token_index|^suppress_tokens|^begin_suppress_tokens|^bad_words_ids)$"
)
_SIZE: Final = re.compile(r"vocab_size$")
_ROLES: Final = ("bos_token", "eos_token", "pad_token")


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The output's tokenizer, and the map from each model's rows to its rows.

    ``files`` are the tokenizer files by name; the output has no others of ``TOKENIZER_FILES``. ``start`` is
    the tokenizer that it extends.
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
        """Control tokens of the chat template that the vocabulary lacks, so that they are split like text."""
        return tuple(each for each in find_markers(self.template or "") if each not in self.tokens)

    def config_updates(self, config: Mapping[str, object], like: str) -> dict[str, object]:
        """Return the keys of a config of the model ``like`` that change, with new sizes and ids of tokens."""
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
        role = key.removesuffix("_id")
        token = self.start.named.get(role) if role in _ROLES else None
        if token is None or token == self.models.stored[like].named.get(role):
            return None
        return self.tokens.get(token)

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
    """Build the output's vocabulary; see ``Gathering`` for its tokens and ``place_rows`` for their rows.

    ``chat_template`` is ``auto``, a known name or Jinja; None keeps that of the extended tokenizer.
    """
    gathered = Gathering(choice, models).run()
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

    ``read`` returns a tensor of a model as stored; ``tensors`` have the vocabulary as first axis. Aligned
    tensors of ``keep_bytes`` in all stay in memory.
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

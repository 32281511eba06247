"""Find the source of each output row in each model: the rule for missing tokens, and its exceptions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kingyo.errors import KingyoError, suggest
from kingyo.io.lazy_torch import torch
from kingyo.vocabulary.rows import Place, RowMap, group_fills
from kingyo.vocabulary.token_union import Gathered, TokenModels
from kingyo.vocabulary.tokenizer_key import ModelToken, TokenizerChoice, Zero


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
    """Return the number of rows: at least that of the start, unless the choice sets a multiple."""
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
            expected="tokens that a merged model has a row for",
            received=f"'{nowhere[0]}'{more} without a row in any of them",
            remedy="Merge that model as well, set `tokenizer_source: union`, or give the token a row: "
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
            raise KingyoError(
                f"{where}: token_id",
                expected=f"an id below {size}, the rows of {source.model}",
                received=str(source.token_id),
                remedy="Choose an id of this model.",
            )
        return ((source.model, source.token_id),)
    name = token if source.token is None else source.token
    row = models.row(source.model, name)
    if row is None:
        near = suggest(name, stored.added)
        raise KingyoError(
            where,
            expected=f"a token of {source.model}",
            received=f"'{name}'",
            remedy=near if near.startswith("Did") else "Choose a token that the model has a row for.",
        )
    return ((source.model, row),)

"""Where each output row comes from in each model: the one rule for missing tokens, and its exceptions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kingyo.errors import KingyoError, suggest
from kingyo.late import torch
from kingyo.vocabulary.choice import ModelToken, TokenizerChoice, Zero
from kingyo.vocabulary.gather import Gathered
from kingyo.vocabulary.models import Models
from kingyo.vocabulary.rows import Place, RowMap, group_fills


def place_rows(choice: TokenizerChoice, models: Models, gathered: Gathered) -> RowMap:
    """Find the rows of every token, and of ids without one.

    A model's own row comes first, unless the choice forces another. A row that a model lacks is what
    ``choice.tokens`` says, else the base's, else that of the only model that has it, else the mean of those
    that have it. Ids without a token keep the rows that the start has there; beyond those is padding.

    Raises:
        KingyoError: no model has a token, or the choice names a token or id that a model has not.
    """
    tokens = gathered.tokens
    n_rows = _count(choice, models, gathered)
    holes = sorted(set(range(n_rows)) - set(tokens.values()))
    start = gathered.start.reference
    limit = models.rows[start] if start in models.folders else 0
    kept = [row for row in holes if row < limit]
    own = {reference: _own_rows(models, reference, tokens, kept, n_rows) for reference in models.folders}
    forced = [tokens[token] for token, entry in choice.tokens.items() if entry.force]
    for rows in own.values():
        rows[forced] = -1
    missing = (torch.stack(list(own.values())) < 0).any(0).nonzero().flatten()
    lacking = {int(row) for row in missing}
    lost = [(token, row) for token, row in tokens.items() if row in lacking]
    places = [*_find_places(choice, models, lost, start)]
    places += [(row, ((start, row),)) for row in kept if row in lacking]
    return RowMap(
        n_rows=n_rows,
        own=own,
        sizes=dict(models.rows),
        fills=group_fills(places),
        padding=torch.tensor([row for row in holes if row >= limit], dtype=torch.int64),
    )


def _count(choice: TokenizerChoice, models: Models, gathered: Gathered) -> int:
    """The number of rows: never fewer than the start has, unless the choice says a multiple."""
    count = max(gathered.tokens.values(), default=-1) + 1
    if choice.pad_to_multiple_of is not None:
        return -(-count // choice.pad_to_multiple_of) * choice.pad_to_multiple_of
    start = gathered.start.reference
    return max(count, models.rows[start]) if start in models.folders else count


def _own_rows(
    models: Models, reference: str, tokens: Mapping[str, int], kept: list[int], n_rows: int
) -> torch.Tensor:
    rows = [-1] * n_rows
    for token, row in tokens.items():
        found = models.row(reference, token)
        rows[row] = -1 if found is None else found
    used = models.stored[reference].by_id
    for row in kept:
        if row < models.rows[reference] and row not in used:
            rows[row] = row
    return torch.tensor(rows, dtype=torch.int64)


def _find_places(
    choice: TokenizerChoice, models: Models, lost: list[tuple[str, int]], start: str
) -> Iterator[tuple[int, Place]]:
    nowhere: list[str] = []
    for token, row in lost:
        entry = choice.tokens.get(token)
        holders = models.holders(token)
        if entry is not None and entry.source is not None:
            yield row, _listed(entry.source, token, models)
        elif not holders:
            nowhere.append(token)
        else:
            based = [each for each in holders if each[0] == models.base]
            yield row, tuple(based or holders)
    if nowhere:
        more = f" and {len(nowhere) - 1} more" if len(nowhere) > 1 else ""
        raise KingyoError(
            f"the vocabulary of {start}",
            expected="tokens that a merged model has a row for",
            received=f"'{nowhere[0]}'{more}, which none has",
            remedy="Merge that model as well, take `tokenizer_source: union`, or give the token a row: "
            f"`tokenizer: {{tokens: {{'{nowhere[0]}': {{source: {{kind: zero}}}}}}}}`.",
        )


def _listed(source: Zero | ModelToken, token: str, models: Models) -> Place:
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
                remedy="Name an id that the model has.",
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
            remedy=near if near.startswith("Did") else "Name a token that the model has a row for.",
        )
    return ((source.model, row),)

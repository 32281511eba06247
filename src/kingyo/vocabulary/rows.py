"""Map rows of the models to rows of the output, and reorder tensors accordingly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from kingyo.errors import KingyoError
from kingyo.io.lazy_torch import Tensor, torch

Place = tuple[tuple[str, int], ...]
"""(model, row) pairs whose mean fills a row of the output; zeros if empty."""

Fetch = Callable[[str], Tensor]


@dataclass(frozen=True, kw_only=True)
class Fill:
    """The source of rows that some models lack.

    Attributes:
        rows: output rows, int64.
        sources: pairs of a model and its rows, one for each of ``rows``. Their mean is used; zeros if empty.
    """

    rows: Tensor
    sources: tuple[tuple[str, Tensor], ...]


@dataclass(frozen=True, kw_only=True)
class RowMap:
    """The map from rows of the models to rows of the output.

    Attributes:
        n_rows: number of rows of the output.
        own: by model, its own row for each output row, or -1 if it lacks that row; int64.
        sizes: by model, its number of rows.
        fills: sources of the rows that are -1.
        padding: output rows without a token or source; they get the mean of all others, so that the model
            never prefers them.
    """

    n_rows: int
    own: Mapping[str, Tensor]
    sizes: Mapping[str, int]
    fills: tuple[Fill, ...] = ()
    padding: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def is_identity(self, model: str) -> bool:
        """Return whether the model's tensors are already in output order."""
        own = self.own[model]
        return self.sizes[model] == self.n_rows and bool((own == torch.arange(self.n_rows)).all())

    def remap(self, model: str, tensor: str, rows: Tensor, fetch: Fetch) -> Tensor:
        """Put a tensor's rows into output order.

        Args:
            model: the model of the tensor.
            tensor: its name, for messages.
            rows: the tensor as stored, one row per id.
            fetch: function that returns the tensor of this name in another model.
        """
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
            out[empty] = self._mean_of_tokens(out)
        return out

    def _mean_of_tokens(self, out: Tensor) -> Tensor:
        """Return the mean of all rows except the padding, without a copy if the padding is at the end."""
        n_tokens = self.n_rows - len(self.padding)
        if bool((self.padding == torch.arange(n_tokens, self.n_rows)).all()):
            tokens = out[:n_tokens]
        else:
            is_token = torch.ones(self.n_rows, dtype=torch.bool)
            is_token[self.padding] = False
            tokens = out[is_token]
        return tokens.mean(0, dtype=_precise(out.dtype)).to(out.dtype)

    def _collect(self, fill: Fill, wanted: Tensor, tensor: str, like: Tensor, read: Fetch) -> Tensor:
        if not fill.sources:
            return like.new_zeros((int(wanted.sum()), *like.shape[1:]))
        parts: list[Tensor] = []
        for model, indices in fill.sources:
            stored = read(model)
            if stored.shape[1:] != like.shape[1:]:
                raise KingyoError(
                    tensor,
                    expected=f"rows of one shape: {list(like.shape[1:])}",
                    received=f"{list(stored.shape[1:])} in {model}",
                    remedy="Merge models of one architecture and size.",
                )
            parts.append(torch.index_select(stored, 0, indices[wanted].to(stored.device)))
        if len(parts) == 1:
            return parts[0]
        dtype = parts[0].dtype
        for part in parts[1:]:
            dtype = torch.promote_types(dtype, part.dtype)
        return torch.stack([part.to(_precise(dtype)) for part in parts]).mean(0).to(dtype)


def group_fills(places: Iterable[tuple[int, Place]]) -> tuple[Fill, ...]:
    """Group rows that come from the same models into one fill each, in order of appearance."""
    rows: dict[tuple[str, ...], list[int]] = defaultdict(list)
    sources: dict[tuple[str, ...], list[list[int]]] = defaultdict(list)
    for row, place in places:
        models = tuple(model for model, _ in place)
        rows[models].append(row)
        sources[models].append([index for _, index in place])
    return tuple(
        Fill(
            rows=torch.tensor(outputs, dtype=torch.int64),
            sources=tuple(
                (model, torch.tensor([indices[i] for indices in sources[models]], dtype=torch.int64))
                for i, model in enumerate(models)
            ),
        )
        for models, outputs in rows.items()
    )


def _precise(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32

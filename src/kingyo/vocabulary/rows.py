"""Which row of which model each row of the output comes from, and tensors put into that order.

It knows token ids as row numbers only; no tokenizer, no file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from kingyo.errors import KingyoError
from kingyo.late import Tensor, torch
from kingyo.sizes import counted

Place = tuple[tuple[str, int], ...]
"""Rows of models whose mean fills a row; a single one is copied, none means zeros."""

Fetch = Callable[[str], Tensor]


@dataclass(frozen=True, kw_only=True)
class Fill:
    """Where models that lack some rows take them from.

    Attributes:
        rows: output rows, int64.
        sources: (model, its rows), a row for each of ``rows``: their mean is taken, zero without any.
    """

    rows: Tensor
    sources: tuple[tuple[str, Tensor], ...]


@dataclass(frozen=True, kw_only=True)
class RowMap:
    """From the rows of the models to the rows of the output.

    Attributes:
        n_rows: of the output.
        own: by model, for each output row the model's own row, or -1 when it takes another's; int64.
        sizes: by model, how many rows it has.
        fills: where rows of -1 come from.
        padding: output rows without a token or a source: they get the mean of all others, so that no head
            ever prefers them.
    """

    n_rows: int
    own: Mapping[str, Tensor]
    sizes: Mapping[str, int]
    fills: tuple[Fill, ...] = ()
    padding: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def is_identity(self, model: str) -> bool:
        """Whether the model's tensors are in output order as they are."""
        own = self.own[model]
        return self.sizes[model] == self.n_rows and bool((own == torch.arange(self.n_rows)).all())

    def remap(self, model: str, tensor: str, rows: Tensor, fetch: Fetch) -> Tensor:
        """Put a tensor's rows into output order.

        Args:
            model: whose tensor it is.
            tensor: its name, for messages.
            rows: the tensor as stored, one row for each id.
            fetch: returns the tensor of this name of another model.

        Returns:
            ``n_rows`` rows; the tensor itself when its order is the output's. Rows of models in another dtype
            promote the result.

        Raises:
            KingyoError: it has another number of rows than it had when the vocabulary was built, or the rows
                of two models differ in size.
        """
        self._check_size(model, tensor, rows)
        if self.is_identity(model):
            return rows
        own = self.own[model]
        out = torch.index_select(rows, 0, own.clamp(min=0).to(rows.device))
        for fill in self.fills:
            wanted = own[fill.rows] < 0
            if not bool(wanted.any()):
                continue
            found = self._collect(fill, wanted, tensor, rows, lambda at: rows if at == model else fetch(at))
            out = out.to(torch.promote_types(out.dtype, found.dtype))
            out[fill.rows[wanted]] = found.to(out.dtype)
        empty = self.padding[own[self.padding] < 0]
        if empty.numel():
            out[empty] = self._mean_of_tokens(out)
        return out

    def _mean_of_tokens(self, out: Tensor) -> Tensor:
        """The mean of all rows but the padding, which is at the end as a rule."""
        n_tokens = self.n_rows - len(self.padding)
        if bool((self.padding == torch.arange(n_tokens, self.n_rows)).all()):
            held = out[:n_tokens]
        else:
            is_held = torch.ones(self.n_rows, dtype=torch.bool)
            is_held[self.padding] = False
            held = out[is_held]
        return held.mean(0, dtype=_precise(out.dtype)).to(out.dtype)

    def _check_size(self, model: str, tensor: str, rows: Tensor) -> None:
        if rows.dim() == 0 or rows.shape[0] != self.sizes[model]:
            raise KingyoError(
                f"{model}: {tensor}",
                expected=f"{counted(self.sizes[model], 'row')}, one for each id of its vocabulary",
                received=f"the shape {list(rows.shape)}",
                remedy="Name only tensors whose first axis is the vocabulary, and leave models as they are.",
            )

    def _collect(self, fill: Fill, wanted: Tensor, tensor: str, like: Tensor, read: Fetch) -> Tensor:
        if not fill.sources:
            return like.new_zeros((int(wanted.sum()), *like.shape[1:]))
        parts: list[Tensor] = []
        for model, theirs in fill.sources:
            held = read(model)
            self._check_size(model, tensor, held)
            if held.shape[1:] != like.shape[1:]:
                raise KingyoError(
                    tensor,
                    expected=f"rows of one shape: {list(like.shape[1:])}",
                    received=f"{list(held.shape[1:])} in {model}",
                    remedy="Merge models of one architecture and size.",
                )
            parts.append(torch.index_select(held, 0, theirs[wanted].to(held.device)))
        if len(parts) == 1:
            return parts[0]
        dtype = parts[0].dtype
        for part in parts[1:]:
            dtype = torch.promote_types(dtype, part.dtype)
        return torch.stack([part.to(_precise(dtype)) for part in parts]).mean(0).to(dtype)


def group_fills(places: Iterable[tuple[int, Place]]) -> tuple[Fill, ...]:
    """Gather rows that come from the same models into one fill each, in order of appearance."""
    rows: dict[tuple[str, ...], list[int]] = defaultdict(list)
    theirs: dict[tuple[str, ...], list[list[int]]] = defaultdict(list)
    for row, place in places:
        models = tuple(model for model, _ in place)
        rows[models].append(row)
        theirs[models].append([index for _, index in place])
    return tuple(
        Fill(
            rows=torch.tensor(listed, dtype=torch.int64),
            sources=tuple(
                (model, torch.tensor([indices[i] for indices in theirs[models]], dtype=torch.int64))
                for i, model in enumerate(models)
            ),
        )
        for models, listed in rows.items()
    )


def _precise(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32

"""The plan of a merge, as data and as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from kingyo.checkpoints import Checkpoint
from kingyo.engine.filters import UnmatchedFilter
from kingyo.engine.jobs import TensorJob
from kingyo.engine.layer_path import path_to_slices
from kingyo.engine.modules import ModuleMerge, expand_modules
from kingyo.engine.sources import Sources
from kingyo.methods import MergeMethod
from kingyo.recipe import Recipe
from kingyo.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a merge will compute. A plan is data: no weight is read.

    Attributes:
        recipe: the recipe.
        method: its merge method.
        jobs: one job for each tensor of the output.
        sources: the models that the jobs read.
        like: the template of the output, which gives it config, tokenizer and files: the base, else the first
            model. If layers are sliced or vocabularies united, it has the output's config and tensors.
        vocabulary: the output's vocabulary; None: that of ``like``.
        tokenizer_files: tokenizer files of the output by name, and its generation config if token ids change;
            None: those of ``like``. If set, no file of ``TOKENIZER_FILES`` is copied from ``like``.
        differences: differences between the models that do not prevent the merge, as sentences.
        unmatched: filters that match no tensor.
    """

    recipe: Recipe
    method: MergeMethod
    jobs: tuple[TensorJob, ...]
    sources: Sources
    like: Checkpoint
    vocabulary: Vocabulary | None = None
    tokenizer_files: Mapping[str, bytes] | None = None
    differences: tuple[str, ...] = ()
    unmatched: tuple[UnmatchedFilter, ...] = ()

    @cached_property
    def jobs_by_name(self) -> Mapping[str, TensorJob]:
        """The jobs by the name of their tensor."""
        return {job.name: job for job in self.jobs}

    @property
    def weights_of(self) -> frozenset[str]:
        """References of the models whose weights are read."""
        merged = {each for job in self.jobs for each in job.sources}
        return frozenset(merged | {job.base.reference for job in self.jobs if job.base is not None})

    @property
    def warnings(self) -> tuple[str, ...]:
        """Everything doubtful about the merge, as sentences."""
        return (*self.differences, *map(str, self.unmatched))

    def heading(self) -> list[str]:
        """Return lines that name method, models, base, seed and vocabulary."""
        modules = expand_modules(path_to_slices(self.recipe, self.sources), self.method)
        lines = [f"{self.method.name} of {line}" for each in modules for line in _describe_module(each)]
        lines += [f"base: {self.recipe.base_model}"] if self.recipe.base_model is not None else []
        lines += [f"seed: {self.recipe.seed}"] if self.method.stochastic else []
        return lines + (self.vocabulary.describe() if self.vocabulary is not None else [])


def _describe_module(module: ModuleMerge) -> Iterator[str]:
    first = 0
    for piece in module.pieces:
        n = piece.n_layers
        names = ", ".join(each.reference for each in piece.merged)
        if n is None:
            yield f"{len(piece.merged)}: {names}{f' ({module.name})' if module.name else ''}"
            continue
        if n == 0:
            place = "after" if first else "before"
            yield f"{len(piece.merged)}, tensors {place} the layers: {names}"
            continue
        ranges = [f"{each.reference} {_range(each.start, n)}" for each in piece.merged]
        if piece.base is not None:
            ranges.append(f"base {piece.base.reference} {_range(piece.base.start, n)}")
        yield f"{len(piece.merged)}, layers {_range(first, n)} of the output: {', '.join(ranges)}"
        first += n


def _range(first: int, n: int) -> str:
    """Return the numbers of the first and the last layer."""
    return f"{first}–{first + n - 1}" if n > 1 else str(first)

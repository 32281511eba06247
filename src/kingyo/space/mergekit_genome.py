"""Genomes in the layout of mergekit-evolve; a genome decodes to the recipe that it writes.

There is one gene per group of layers, model, set of tensors and parameter, in this order. Entries that have
no effect in mergekit are left out of the recipe; see ``docs/run-yaml.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from kingyo.errors import KingyoError, unknown_name_error
from kingyo.recipe import Conditional, Recipe, Slice, SliceSource, Source, Value
from kingyo.space.protocol import SourceSpace
from kingyo.types import Axis, Genome

GENES: Mapping[str, tuple[str, ...]] = {
    "linear": ("weight",),
    "task_arithmetic": ("weight",),
    "ties": ("weight", "density"),
    "dare_ties": ("weight", "density"),
    "slerp": ("t",),
}
"""Method -> parameters that have genes."""
ON_BASE = ("task_arithmetic", "ties", "dare_ties")
NORMALIZED = ("linear", "ties", "dare_ties")
REST = "rest"
"""Name of the set of tensors that no filter matches."""

Range = tuple[float, float]


class GenomeLayout(BaseModel):
    """Options of a genome file; the key ``merge.genome`` of run.yaml.

    Attributes:
        layer_granularity: number of layers that share genes; 0 or less: all.
        normalize: None: the default of the method.
        allow_negative_weights: whether weights may be negative; else their absolute value counts.
        filters: parts of tensor names with genes of their own.
        smooth: whether values change linearly between groups instead of in steps.
        tokenizer_source: ``tokenizer_source`` of the recipe.
        random_init: whether the search begins at a random point.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    layer_granularity: Annotated[int, Field(strict=True)] = 0
    normalize: bool | None = None
    allow_negative_weights: bool = False
    filters: tuple[str, ...] = ()
    smooth: bool = False
    tokenizer_source: str | None = None
    random_init: bool = False

    def bounds(self, method: str) -> Range:
        """Return bounds for all axes; mergekit-evolve itself has none."""
        if method == "slerp":
            return -2.0, 3.0
        return (-1.0, 2.0) if self.allow_negative_weights else (0.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class MergekitGenome(SourceSpace):
    """All merges that a genome file describes."""

    method: str
    sources: Mapping[str, str]
    base: str | None
    n_layers: int
    layout: GenomeLayout
    dtype: str | None = "bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in GENES:
            raise unknown_name_error("merge_method", self.method, GENES)
        if self.base is None and self.method in ON_BASE:
            raise _wrong("base_model", f"a base for {self.method}", "none", "Name the models' ancestor.")
        if self.method == "slerp" and (len(self.sources) < 2 or self.layout.smooth or self.layout.filters):
            remedy = "Delete the keys, add a model, or use another method."
            raise _wrong("merge_method", "two models for slerp, no smooth and no filters", "others", remedy)
        step = self.layout.layer_granularity
        if step > 0 and self.n_layers % step:
            expected = f"0, or a divisor of {self.n_layers}, the number of layers"
            raise _wrong("layer_granularity", expected, str(step), "Use such a number.")
        filters = self.layout.filters
        if len({"", REST, *filters}) < len(filters) + 2:
            remedy = f"'{REST}' stands for all tensors that no filter matches."
            raise _wrong("filters", "different parts of tensors' names", str(list(filters)), remedy)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """One float axis per gene, named ``weight/ja/layers.0.mlp``."""
        low, high = self.layout.bounds(self.method)
        rng = Random(self.seed)
        return tuple(
            Axis(
                name=f"{parameter}/{name}/{self._group(group, part)}",
                low=low,
                high=high,
                start=rng.random() if self.layout.random_init else self._start(parameter),
                place=self._position(group),
            )
            for group in range(self._n_groups)
            for name in self.sources
            for part in self._parts
            for parameter in GENES[self.method]
        )

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a genome."""
        genes = _Genes(self, genome)
        normalize = self.method in NORMALIZED if self.layout.normalize is None else self.layout.normalize
        is_smooth = self.layout.smooth
        return Recipe(
            merge_method=self.method,
            sources=self._gradients(genes) if is_smooth else (),
            slices=() if is_smooth else tuple(self._slice(genes, group) for group in range(self._n_groups)),
            base_model=self.base,
            parameters={} if self.method == "slerp" else {"normalize": normalize},
            dtype=self.dtype,
            tokenizer_source=self.layout.tokenizer_source,
            seed=self.seed if self.method == "dare_ties" else 0,
        )

    @property
    def _n_groups(self) -> int:
        return self.n_layers // self._step

    @property
    def _step(self) -> int:
        return self.layout.layer_granularity if self.layout.layer_granularity > 0 else self.n_layers

    @property
    def _parts(self) -> tuple[str | None, ...]:
        return (*self.layout.filters, None)

    @property
    def _extra_base(self) -> str | None:
        is_listed = self.base in self.sources.values() or self.method not in ON_BASE
        return None if is_listed else self.base

    def _gradients(self, genes: _Genes) -> tuple[Source, ...]:
        """Return the sources of a recipe with a gradient over the groups for each set of tensors."""
        groups = range(self._n_groups)
        sources = [
            Source(model=reference, parameters=self._parameters(genes, i, groups))
            for i, reference in enumerate(self.sources.values())
        ]
        extra = [] if self._extra_base is None else [Source(model=self._extra_base)]
        return (*sources, *extra)

    def _slice(self, genes: _Genes, group: int) -> Slice:
        if self.method == "slerp":
            return self._slerp(genes, group)
        layers = self._layers(group)
        sources = [
            SliceSource(model=reference, layers=layers, parameters=self._parameters(genes, i, [group]))
            for i, reference in enumerate(self.sources.values())
        ]
        extra = [] if self._extra_base is None else [SliceSource(model=self._extra_base, layers=layers)]
        return Slice(sources=(*sources, *extra))

    def _parameters(self, genes: _Genes, model: int, groups: Sequence[int]) -> dict[str, Value]:
        """Return the parameters of a model; none for the base of task vectors, whose genes are inactive."""
        if list(self.sources.values())[model] == self.base and self.method in ON_BASE:
            return {}
        return {
            parameter: self._value(
                [[genes.value(group, model, part, k) for group in groups] for part in range(len(self._parts))]
            )
            for k, parameter in enumerate(GENES[self.method])
        }

    def _layers(self, group: int) -> tuple[int, int]:
        return group * self._step, (group + 1) * self._step

    def _slerp(self, genes: _Genes, group: int) -> Slice:
        """Interpolate from the model with the largest gene to the second, by the softmax of both genes."""
        layers, references = self._layers(group), list(self.sources.values())
        votes = [genes.raw(group, i, 0, 0) for i in range(len(references))]
        first, second = sorted(range(len(votes)), key=lambda i: (-votes[i], i))[:2]
        return Slice(
            sources=tuple(SliceSource(model=references[i], layers=layers) for i in (first, second)),
            base_model=references[first],
            parameters={"t": 1 / (1 + math.exp(votes[first] - votes[second]))},
        )

    def _value(self, parts: Sequence[Sequence[float]]) -> Value:
        values = [tuple(part) if len(part) > 1 else part[0] for part in parts]
        if len(values) == 1:
            return values[0]
        pairs = zip(self._parts, values, strict=True)
        return tuple(Conditional(filter=name, value=value) for name, value in pairs)

    def _start(self, parameter: str) -> float:
        return 1.0 if parameter == "density" else 1 / len(self.sources)

    def _group(self, group: int, part: str | None) -> str:
        layers = [f"layers.{group}"] if self._n_groups > 1 else []
        named = [part or REST] if self.layout.filters else []
        return ".".join([*layers, *named]) or "all"

    def _position(self, group: int) -> float | None:
        if self._n_groups == 1:
            return None
        if self.layout.smooth:
            return group / (self._n_groups - 1)
        return (group + 0.5) / self._n_groups


class _Genes:
    """A genome indexed by group, model, set of tensors and parameter."""

    def __init__(self, space: MergekitGenome, genome: Genome) -> None:
        self._genome = genome
        self._parameters = GENES[space.method]
        self._shape = len(space.sources), len(space.layout.filters) + 1, len(self._parameters)
        self._allow_negative = space.layout.allow_negative_weights

    def raw(self, group: int, model: int, part: int, parameter: int) -> float:
        models, parts, parameters = self._shape
        return self._genome[((group * models + model) * parts + part) * parameters + parameter]

    def value(self, group: int, model: int, part: int, parameter: int) -> float:
        """Return a gene as a parameter: a density is |gene|, at most 1; a weight |gene| unless it may be
        negative.
        """
        gene = self.raw(group, model, part, parameter)
        if self._parameters[parameter] == "density":
            return min(abs(gene), 1.0)
        return gene if self._allow_negative else abs(gene)


def _wrong(key: str, expected: str, received: str, remedy: str) -> KingyoError:
    return KingyoError(f"genome.{key}", expected=expected, received=received, remedy=remedy)

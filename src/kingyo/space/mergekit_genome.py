"""Genomes as mergekit-evolve lays them out: a genome decodes to the recipe that it would write.

For every group of layers, model, set of tensors and parameter one gene, in this order. What mergekit lets
change nothing is left out of the recipe: see ``docs/run-yaml.md``. It reads no file and no weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from kingyo.errors import KingyoError, unknown
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
"""Method -> the parameters that have genes."""
ON_BASE = ("task_arithmetic", "ties", "dare_ties")
NORMALIZED = ("linear", "ties", "dare_ties")
REST = "rest"
"""The set of tensors that no filter names."""

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class GenomeLayout:
    """What a genome file says beside its models.

    Attributes:
        layer_granularity: layers that share their genes; 0 or less is all of them.
        normalize: None is what the method does by default.
        allow_negative_weights: whether a weight below 0 subtracts; else its size counts.
        filters: parts of tensors' names with genes of their own.
        smooth: values run evenly from group to group, in place of steps.
        tokenizer_source: of the recipe.
        random_init: the search begins at a random point.
    """

    layer_granularity: int = 0
    normalize: bool | None = None
    allow_negative_weights: bool = False
    filters: tuple[str, ...] = ()
    smooth: bool = False
    tokenizer_source: str | None = None
    random_init: bool = False

    def bounds(self, method: str) -> Range:
        """Where genes are searched, which mergekit-evolve does not bound: the same for every axis."""
        if method == "slerp":
            return -2.0, 3.0
        return (-1.0, 2.0) if self.allow_negative_weights else (0.0, 2.0)


@dataclass(frozen=True, kw_only=True)
class MergekitGenome(SourceSpace):
    """All merges that a genome file describes.

    Attributes:
        method: one of ``GENES``.
        sources: name -> model reference, in the order of merging.
        base: model reference of the common ancestor, or None.
        n_layers: of the models.
        layout: how genes are laid out.
        dtype: of the merged weights.
        seed: of random methods, and of the first point with ``random_init``.
    """

    method: str
    sources: Mapping[str, str]
    base: str | None
    n_layers: int
    layout: GenomeLayout
    dtype: str | None = "bfloat16"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in GENES:
            raise unknown("merge_method", self.method, GENES)
        if self.base is None and self.method in ON_BASE:
            raise _wrong("base_model", f"a base for {self.method}", "none", "Name the models' ancestor.")
        if self.method == "slerp":
            self._check_slerp()
        step = self.layout.layer_granularity
        if step > 0 and self.n_layers % step:
            expected = f"0, or a divisor of {self.n_layers}, the number of layers"
            raise _wrong("layer_granularity", expected, str(step), "Correct it.")
        filters = self.layout.filters
        vague = next((each for each in filters if each in ("", REST)), None)
        if vague is not None:
            remedy = f"Leave it out: what no filter names is '{REST}'."
            raise _wrong("filters", "parts of tensors' names", repr(vague), remedy)
        if len(set(filters)) < len(filters):
            raise _wrong("filters", "different filters", ", ".join(filters), "Name every filter once.")

    @property
    def axes(self) -> tuple[Axis, ...]:
        """One float axis per gene, named ``weight/ja/layers.0.mlp``."""
        low, high = self.layout.bounds(self.method)
        dice = Random(self.seed)
        return tuple(
            Axis(
                name=f"{parameter}/{name}/{self._group(group, part)}",
                low=low,
                high=high,
                start=dice.random() if self.layout.random_init else self._start(parameter),
                place=self._place(group),
            )
            for group in range(self._n_groups)
            for name in self.sources
            for part in self._parts
            for parameter in GENES[self.method]
        )

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a genome.

        Raises:
            ValueError: the genome's length is not the number of genes.
        """
        n = self._n_groups * len(self.sources) * len(self._parts) * len(GENES[self.method])
        if len(genome) != n:
            raise ValueError(f"genome: expected {n} genes, received {len(genome)}")
        genes = _Genes(self, genome)
        normalize = self.method in NORMALIZED if self.layout.normalize is None else self.layout.normalize
        is_whole = self.layout.smooth
        return Recipe(
            merge_method=self.method,
            sources=tuple(self._gradients(genes)) if is_whole else (),
            slices=() if is_whole else tuple(self._slice(genes, group) for group in range(self._n_groups)),
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
        """The sets of tensors: by filter, then all others."""
        return (*self.layout.filters, None)

    @property
    def _base_beside(self) -> str | None:
        """The base, where it has to be listed beside the models: of a method that takes one."""
        is_listed = self.base in self.sources.values() or self.method not in ON_BASE
        return None if is_listed else self.base

    def _has_no_vector(self, reference: str) -> bool:
        """Whether a model is the base of a method that merges differences from it: its genes are inactive."""
        return reference == self.base and self.method in ON_BASE

    def _gradients(self, genes: _Genes) -> Iterator[Source]:
        for i, reference in enumerate(self.sources.values()):
            columns = {
                parameter: [
                    [genes.value(group, i, part, k) for group in range(self._n_groups)]
                    for part in range(len(self._parts))
                ]
                for k, parameter in enumerate(GENES[self.method])
            }
            yield Source(
                model=reference,
                parameters={}
                if self._has_no_vector(reference)
                else {
                    parameter: self._value([tuple(each) if len(each) > 1 else each[0] for each in parts])
                    for parameter, parts in columns.items()
                },
            )
        if self._base_beside is not None:
            yield Source(model=self._base_beside)

    def _slice(self, genes: _Genes, group: int) -> Slice:
        if self.method == "slerp":
            return self._slerp(genes, group)
        layers = group * self._step, (group + 1) * self._step
        sources = [
            SliceSource(
                model=reference,
                layers=layers,
                parameters={}
                if self._has_no_vector(reference)
                else {
                    parameter: self._value(
                        [genes.value(group, i, part, k) for part in range(len(self._parts))]
                    )
                    for k, parameter in enumerate(GENES[self.method])
                },
            )
            for i, reference in enumerate(self.sources.values())
        ]
        if self._base_beside is not None:
            sources.append(SliceSource(model=self._base_beside, layers=layers))
        return Slice(sources=tuple(sources))

    def _slerp(self, genes: _Genes, group: int) -> Slice:
        """From the model with the largest gene towards the second, by the softmax of both."""
        layers = group * self._step, (group + 1) * self._step
        references = list(self.sources.values())
        votes = [genes.raw(group, i, 0, 0) for i in range(len(references))]
        first, second = sorted(range(len(votes)), key=lambda i: (-votes[i], i))[:2]
        return Slice(
            sources=tuple(SliceSource(model=references[i], layers=layers) for i in (first, second)),
            base_model=references[first],
            parameters={"t": 1 / (1 + math.exp(votes[first] - votes[second]))},
        )

    def _value(self, parts: Sequence[float | tuple[float, ...]]) -> Value:
        if len(parts) == 1:
            return parts[0]
        return tuple(
            Conditional(filter=filter_, value=value)
            for filter_, value in zip(self._parts, parts, strict=True)
        )

    def _start(self, parameter: str) -> float:
        return 1.0 if parameter == "density" else 1 / len(self.sources)

    def _group(self, group: int, part: str | None) -> str:
        layers = [f"layers.{group}"] if self._n_groups > 1 else []
        named = [part or REST] if self.layout.filters else []
        return ".".join([*layers, *named]) or "all"

    def _place(self, group: int) -> float | None:
        if self._n_groups == 1:
            return None
        if self.layout.smooth:
            return group / (self._n_groups - 1)
        return (group + 0.5) / self._n_groups

    def _check_slerp(self) -> None:
        if len(self.sources) < 2:
            raise _wrong("models", "two or more for slerp", str(len(self.sources)), "Add one.")
        for key, given in (("smooth", self.layout.smooth), ("filters", bool(self.layout.filters))):
            if given:
                remedy = "Leave it out, or take another method."
                raise _wrong(key, "nothing for slerp, which has no genes for it", "a value", remedy)


class _Genes:
    """A genome by group, model, set of tensors and parameter."""

    def __init__(self, space: MergekitGenome, genome: Genome) -> None:
        self._genome = genome
        self._parameters = GENES[space.method]
        self._shape = len(space.sources), len(space.layout.filters) + 1, len(self._parameters)
        self._allow_negative = space.layout.allow_negative_weights

    def raw(self, group: int, model: int, part: int, parameter: int) -> float:
        models, parts, parameters = self._shape
        return self._genome[((group * models + model) * parts + part) * parameters + parameter]

    def value(self, group: int, model: int, part: int, parameter: int) -> float:
        """A density is folded and cut to 0..1; of a weight the size counts, unless it may be negative."""
        gene = self.raw(group, model, part, parameter)
        if self._parameters[parameter] == "density":
            return min(abs(gene), 1.0)
        return gene if self._allow_negative else abs(gene)


def _wrong(key: str, expected: str, received: str, remedy: str) -> KingyoError:
    return KingyoError(f"genome.{key}", expected=expected, received=received, remedy=remedy)

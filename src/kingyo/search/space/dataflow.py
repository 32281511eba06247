"""Data-flow space: paths of tokens through the layers of several models.

    slots     all layers of all sources in order, repeated r times: T = M · r
    gene      whether the layer of a slot is in the path
    scales    factor of the input of a layer: none, one per layer, or W_ij for layer j after layer i

Akiba et al. 2024, Evolutionary Optimization of Model Merging Recipes, arXiv:2403.13187; there a slot is in
the path if I > 0, as with ``threshold``.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Literal

from kingyo.core.types import Axis, Genome
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, TensorInfo
from kingyo.merging.checkpoints.header import WIDTHS
from kingyo.merging.recipe import MAX_HOPS, MERGED, PASSTHROUGH, Hop, Recipe
from kingyo.search.space.protocol import Space

Scales = Literal["none", "layer", "matrix"]
Inclusion = Literal["binary", "threshold"]
Order = Literal["source", "depth"]
START = "start"
"""Name of the position before the first layer of a path."""
MAX_SKIPS = 8

Layer = tuple[str, int]
"""Name of a source and number of a layer."""


@dataclass(frozen=True, kw_only=True)
class DataflowSpace:
    """All paths through the layers of some models.

    A search begins at the path through the layers of the ``frame``, the source that provides embeddings,
    final norm, head and tokenizer. Layers are ordered ``source`` by source, or by relative ``depth``.
    ``binary`` genes are 0 or 1, by ``threshold`` they are floats from -1 to 1, and in the path if above 0.
    Paths longer than ``max_hops`` lose layers evenly between their ends, or by ``threshold`` those with the
    smallest genes. ``merges`` has the recipes of sources that are themselves merges, by reference.

        >>> space = DataflowSpace(sources={"ja": "models/ja"}, n_layers={"ja": 2}, frame="ja", repetitions=1)
        >>> [axis.name for axis in space.axes]
        ['pass 1/ja.0', 'pass 1/ja.1']
        >>> [hop.layer for hop in space.decode((1.0, 0.0)).path]
        [0]
    """

    sources: Mapping[str, str]
    n_layers: Mapping[str, int]
    frame: str
    repetitions: int = 2
    order: Order = "depth"
    scales: Scales = "none"
    max_scale: float = 1.25
    inclusion: Inclusion = "binary"
    max_hops: int | None = None
    dtype: str | None = None
    merges: Mapping[str, Recipe] = field(default_factory=dict[str, Recipe])

    def __post_init__(self) -> None:
        empty = next((name for name in self.sources if self.n_layers[name] < 1), None)
        if empty is not None:
            remedy = "Name decoder-only language models."
            raise KingyoError(f"sources.{empty}", "a model with layers", "none", remedy)
        if self.most_hops > MAX_HOPS:
            received = f"{self.repetitions}, for paths of up to {self.most_hops} layers"
            remedy, expected = "Lower it, or set max_hops.", f"paths of at most {MAX_HOPS} layers"
            raise KingyoError("dataflow.repetitions", expected, received, remedy)

    @property
    def axes(self) -> tuple[Axis, ...]:
        return self._axes

    @cached_property
    def _axes(self) -> tuple[Axis, ...]:
        return (*self._slot_axes(), *self._scale_axes())

    @property
    def most_hops(self) -> int:
        return min(len(self.slots), self.max_hops or len(self.slots))

    @cached_property
    def slots(self) -> tuple[Layer, ...]:
        return self.layers * self.repetitions

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        layers = [(name, number) for name in self.sources for number in range(self.n_layers[name])]
        if self.order == "source":
            return tuple(layers)
        return tuple(sorted(layers, key=lambda layer: (layer[1] + 0.5) / self.n_layers[layer[0]]))

    def _slot_axes(self) -> Iterator[Axis]:
        is_binary = self.inclusion == "binary"
        for i, (name, number) in enumerate(self.slots):
            repetition = i // len(self.layers) + 1
            is_own = repetition == 1 and name == self.frame
            yield Axis(
                name=f"pass {repetition}/{name}.{number}",
                low=0 if is_binary else -1,
                high=1,
                kind="binary" if is_binary else "float",
                start=float(is_own) if is_binary else (0.5 if is_own else -0.5),
            )

    def _scale_axes(self) -> Iterator[Axis]:
        limit = math.log2(self.max_scale)
        if self.scales == "layer":
            names = [_layer_name(layer) for layer in self.layers]
        elif self.scales == "matrix":
            names_before = [START, *map(_layer_name, self.layers)]
            names = [f"{one}>{_layer_name(other)}" for one, other in product(names_before, self.layers)]
        else:
            return
        for name in names:
            yield Axis(name=f"log2 scale/{name}", low=-limit, high=limit, start=0.0)

    def genome(self, path: Sequence[Layer]) -> Genome | None:
        """Return the genome of a path without scales; None if the slots or ``max_hops`` do not allow it."""
        if len(path) > self.most_hops:
            return None
        chosen: list[int] = []
        for layer in path:
            first = chosen[-1] + 1 if chosen else 0
            slot = next((i for i in range(first, len(self.slots)) if self.slots[i] == layer), None)
            if slot is None:
                return None
            chosen.append(slot)
        off = 0.0 if self.inclusion == "binary" else -0.5
        on = 1.0 if self.inclusion == "binary" else 0.5
        bits = [on if i in chosen else off for i in range(len(self.slots))]
        return (*bits, *(axis.first for axis in self.axes[len(self.slots) :]))

    def decode(self, genome: Genome) -> Recipe:
        """Return the recipe of a genome; an empty path gets the layer of the slot with the largest gene."""
        bits, scales = genome[: len(self.slots)], genome[len(self.slots) :]
        layers = [self.slots[i] for i in self._chosen(bits)]
        return self._recipe(
            [
                Hop(model=self.sources[name], layer=number, scale=self._scale(scales, before, (name, number)))
                for before, (name, number) in zip([None, *layers], layers, strict=False)
            ]
        )

    def probe(self) -> Recipe:
        """Return a path that contains all layers, in reverse order and scaled if scales are searched."""
        first = 1.0 if self.scales == "none" else self.max_scale
        hops = [
            Hop(model=self.sources[name], layer=number, scale=1.0 if position else first)
            for position, (name, number) in enumerate(reversed(self.layers))
        ]
        return self._recipe(hops)

    def seeds(self) -> list[Genome]:
        """Return initial genomes for a search, without those that do not fit the slots."""
        own = [(self.frame, number) for number in range(self.n_layers[self.frame])]
        others = [
            [(name, number) for number in range(self.n_layers[name])]
            for name in self.sources
            if name != self.frame
        ]
        block = math.ceil(len(own) / MAX_SKIPS)
        skips = [own[:first] + own[first + block :] for first in range(0, len(own), block)]
        stacked = _stacked(list(self.sources), self.n_layers, self.frame)
        paths = [own, *others, stacked, *(skip for skip in skips if skip)]
        genomes = map(self.genome, paths)
        return list(dict.fromkeys(genome for genome in genomes if genome is not None))

    def _recipe(self, hops: Sequence[Hop]) -> Recipe:
        frame = self.sources[self.frame]
        named = {frame, *(hop.model for hop in hops)}
        return Recipe(
            merge_method=PASSTHROUGH,
            path=tuple(hops),
            base_model=frame,
            dtype=self.dtype,
            merges={name: recipe for name, recipe in self.merges.items() if name in named},
        )

    def _chosen(self, bits: Sequence[float]) -> list[int]:
        border = 0.5 if self.inclusion == "binary" else 0.0
        chosen = [i for i, bit in enumerate(bits) if bit > border]
        if not chosen:
            return [max(range(len(bits)), key=lambda i: (bits[i], -i))]
        if self.max_hops is None or len(chosen) <= self.max_hops:
            return chosen
        if self.inclusion == "binary":
            last = len(chosen) - 1  # evenly spaced
            return [chosen[round(k * last / max(1, self.max_hops - 1))] for k in range(self.max_hops)]
        return sorted(sorted(chosen, key=lambda i: (-bits[i], i))[: self.max_hops])

    def _scale(self, genes: Sequence[float], before: Layer | None, layer: Layer) -> float:
        own = self.layers.index(layer)
        if self.scales == "layer":
            return _power(genes[own])
        if self.scales == "matrix":
            row = 0 if before is None else self.layers.index(before) + 1
            return _power(genes[row * len(self.layers) + own])
        return 1.0


def path_recipe(path: Sequence[Layer], frame: str, dtype: str | None) -> Recipe:
    hops = tuple(Hop(model=model, layer=number) for model, number in path)
    return Recipe(merge_method=PASSTHROUGH, path=hops, base_model=frame, dtype=dtype)


def frankenmerge(sources: Mapping[str, str], n_layers: Mapping[str, int], frame: str) -> list[Layer]:
    """Return the usual hand-made stack: the first three quarters of the frame, then the last of another."""
    return [(sources[name], number) for name, number in _stacked(list(sources), n_layers, frame)]


def _stacked(names: Sequence[str], n_layers: Mapping[str, int], frame: str) -> list[Layer]:
    other = next((name for name in names if name != frame), frame)
    first, second = math.ceil(0.75 * n_layers[frame]), math.floor(0.25 * n_layers[other])
    return [*((frame, k) for k in range(first)), *((other, k) for k in range(second, n_layers[other]))]


def _layer_name(layer: Layer) -> str:
    return f"{layer[0]}.{layer[1]}"


def _power(gene: float) -> float:
    return float(f"{2.0**gene:.4g}")


@dataclass(frozen=True, kw_only=True)
class HybridSpace:
    """All merges of some models combined with all paths through their layers and those of the merge.

    A genome is one of the merge followed by one of the path. Genes of a merge that the path does not use are
    inactive.
    """

    merges: Space
    paths: DataflowSpace

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (*self.merges.axes, *self.paths.axes)

    def decode(self, genome: Genome) -> Recipe:
        n = len(self.merges.axes)
        merged = self.merges.decode(genome[:n])
        return replace(self.paths, merges={MERGED: merged}).decode(genome[n:])


def paths_of(space: Space) -> DataflowSpace | None:
    if isinstance(space, HybridSpace):
        return space.paths
    return space if isinstance(space, DataflowSpace) else None


def path_bytes(sources: Mapping[str, Checkpoint], frame: str, dtype: str | None, hops: int) -> int:
    """Return the most bytes that the exported weights of a path can have."""
    layout, tensors = sources[frame].layout, sources[frame].tensors
    outer = [info for name, info in tensors.items() if layout.stack(name) is not layout.main]
    layers = [
        _bytes((model.tensors[name] for name in names), dtype)
        for model in sources.values()
        if model.layout.main is not None
        for names in model.layout.main.blocks.values()
    ]
    return _bytes(outer, dtype) + hops * max(layers, default=1)


def _bytes(infos: Iterable[TensorInfo], dtype: str | None) -> int:
    return sum(
        info.n_elements * WIDTHS[dtype or info.stored_dtype if info.is_floating else info.dtype]
        for info in infos
    )

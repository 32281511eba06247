"""The genes of a search: names, ranges, families, which matter, and one genome laid out as matrices.

It reads the axes that a search stores, named such as ``weight/ja/block.3``, and knows no merge method. A
family has the genes of one quantity at all places of a model, such as the weights of one source; where genes
are many, or were learned, a gene of the report is the mean of a family.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, cast

from kingyo.core.io.units import counted
from kingyo.core.types import Genome
from kingyo.merging.recipe import Recipe, cumulative
from kingyo.runs.settings import MEMETIC
from kingyo.search.evolution import BASELINES, MAIN
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.store import RunStore
from kingyo.views.results.trials import MINUS

BEST_SHARE = 0.25  # share of good trials
MIN_TRIALS = 12  # smallest number of trials
EVERY = "all sources"
SHOWN = 6  # genes that have charts of their own
MANY = 100  # genes, beyond which the report shows means of families
OF_PATHS = re.compile(r"(pass \d+|log2 scale|network)/[^/]*")
"""Genes of a path through layers, which has its own picture."""
OF_TENSOR = re.compile(r"(?:(?P<stack>.*?)\.(?P<block>\d+)\.)?.*\.(weight|bias)")
"""A group that is one tensor, in a block or outside all blocks."""


def axes_of(description: Mapping[str, object]) -> list[Mapping[str, object]]:
    return cast("list[Mapping[str, object]]", description.get("axes", []))


def families_of(description: Mapping[str, object]) -> dict[str, list[int]]:
    """Return family -> the positions of its genes: ``weight/ja`` has the axes ``weight/ja/block.3``, …"""
    families: dict[str, list[int]] = {}
    for place, axis in enumerate(axes_of(description)):
        families.setdefault(family_of(str(axis["name"])), []).append(place)
    return families


def family_of(axis: str) -> str:
    """Return an axis' name without the group of tensors, which comes last."""
    parts = axis.split("/", 2)
    return "/".join(parts[: max(1, len(parts) - 1)])


def mean_text(genes: Sequence[float]) -> str:
    """Return the mean and the range of genes, such as "0.82 (0.10 to 1.30)"; one gene has no range."""
    low, high = f"{min(genes):.2f}", f"{max(genes):.2f}"
    text = f"{fmean(genes):.2f}" + (f" ({low} to {high})" if low != high else "")
    return text.replace("-", MINUS)


def means_by_family(description: Mapping[str, object], genome: Genome) -> dict[str, str]:
    """Return family -> mean and range of its genes; nothing if genome and axes do not fit together."""
    if len(axes_of(description)) != len(genome):
        return {}
    return {
        family: mean_text([genome[place] for place in places])
        for family, places in families_of(description).items()
    }


@dataclass(frozen=True, kw_only=True)
class Gene:
    """One axis of a search, or the mean of those of one family."""

    places: tuple[int, ...]
    name: str
    low: float
    high: float

    def value(self, genome: Genome) -> float:
        return fmean(genome[place] for place in self.places)


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """The genes of one parameter in one genome: source and group of layers -> gene, or those of a block."""

    parameter: str
    sources: tuple[str, ...]
    groups: tuple[str, ...]
    genes: Mapping[tuple[str, str], tuple[float, ...]]
    low: float
    high: float

    @property
    def size(self) -> int:
        return sum(map(len, self.genes.values()))

    @property
    def means(self) -> Mapping[str, str]:
        own = {
            name: [gene for (source, _), each in self.genes.items() if source == name for gene in each]
            for name in self.sources
        }
        return {name: mean_text(genes) for name, genes in own.items()}


def read_genes(description: Mapping[str, object], trials: Iterable[tuple[Genome, float]]) -> tuple[Gene, ...]:
    """Return the genes of a search, those first by which the best trials differ most (Kolmogorov–Smirnov)."""
    genes = _genes(description)
    n_axes = sum(len(gene.places) for gene in genes)
    ranked = sorted((each for each in trials if len(each[0]) == n_axes), key=lambda each: -each[1])
    if len(ranked) < MIN_TRIALS or ranked[0][1] == ranked[-1][1]:
        return tuple(genes)
    n_best = round(BEST_SHARE * len(ranked))

    def difference(gene: Gene) -> float:
        import scipy.stats  # pyright: ignore[reportMissingTypeStubs]

        values = [gene.value(genome) for genome, _ in ranked]
        return cast("Any", scipy.stats).ks_2samp(values[:n_best], values[n_best:]).statistic

    return tuple(sorted(genes, key=difference, reverse=True))


def _genes(description: Mapping[str, object]) -> list[Gene]:
    axes, families = axes_of(description), families_of(description)
    if len(axes) <= MANY and description.get("strategy") != MEMETIC:
        families = {str(axis["name"]): [place] for place, axis in enumerate(axes)}
    return [
        Gene(
            places=tuple(own),
            name=str(axes[own[0]]["name"]).removesuffix("/all") if len(own) == 1 else f"{family}, mean",
            low=min(cast(float, axes[place]["low"]) for place in own),
            high=max(cast(float, axes[place]["high"]) for place in own),
        )
        for family, own in families.items()
    ]


def read_matrices(description: Mapping[str, object], genome: Genome) -> tuple[Matrix, ...]:
    """Lay a genome out by the axes of its search; nothing when they do not fit together."""
    axes = axes_of(description)
    if not genome or len(axes) != len(genome):
        return ()
    blocks = _blocks(_parts(str(axis["name"]))[2] for axis in axes)
    cells: dict[str, dict[tuple[str, str], list[float]]] = {}
    bounds: dict[str, list[float]] = {}
    for axis, gene in zip(axes, genome, strict=True):
        if OF_PATHS.fullmatch(str(axis["name"])):
            continue
        parameter, source, group = _parts(str(axis["name"]))
        cells.setdefault(parameter, {}).setdefault((source, blocks[group]), []).append(gene)
        bounds.setdefault(parameter, []).extend(cast(float, axis[bound]) for bound in ("low", "high"))
    return tuple(
        Matrix(
            parameter=name,
            sources=tuple(dict.fromkeys(source for source, _ in own)),
            groups=tuple(dict.fromkeys(group for _, group in own)),
            genes={key: tuple(genes) for key, genes in own.items()},
            low=min(bounds[name]),
            high=max(bounds[name]),
        )
        for name, own in cells.items()
    )


def _blocks(groups: Iterable[str]) -> dict[str, str]:
    """Return the block of each group that is one tensor, such as ``block.3``; with several stacks, theirs."""
    tensors = {group: OF_TENSOR.fullmatch(group) for group in groups}
    stacks = {each["stack"] for each in tensors.values() if each is not None and each["stack"]}

    def name(group: str, tensor: re.Match[str] | None) -> str:
        if tensor is None or not tensor["stack"]:
            return group.removesuffix(".weight")
        return f"{'block' if len(stacks) == 1 else tensor['stack']}.{tensor['block']}"

    return {group: name(group, tensor) for group, tensor in tensors.items()}


def _parts(axis: str) -> tuple[str, str, str]:
    """Return parameter, source and group of an axis; a space with other names gets rows of its own."""
    parts = axis.split("/", 2)
    if len(parts) == 3:
        return parts[0], parts[1], parts[2]
    return parts[0], EVERY, parts[1] if len(parts) == 2 else ""


@dataclass(frozen=True, kw_only=True)
class PathStep:
    """One hop; ``cumulative`` is the product of scales up to it, ``time`` how often its layer was used."""

    model: str
    layer: int
    scale: float
    cumulative: float
    time: int


@dataclass(frozen=True, kw_only=True)
class NamedPath:
    """A path with the model names of a run; ``layers``: name -> number of layers."""

    steps: tuple[PathStep, ...]
    embeddings: str
    head: str
    layers: Mapping[str, int]

    @property
    def ends(self) -> str:
        if self.embeddings == self.head:
            return f"embeddings, norm and head of {self.head}"
        return f"embeddings of {self.embeddings}, norm and head of {self.head}"

    @property
    def line(self) -> str:
        """Return the path in a line: ``ja 0-3 · math-en 2-3 (x0.84) · ja 5``, with the scales of layers."""
        runs: list[list[PathStep]] = []
        for step in self.steps:
            if runs and (runs[-1][-1].model, runs[-1][-1].layer + 1) == (step.model, step.layer):
                runs[-1].append(step)
            else:
                runs.append([step])
        return " · ".join(map(_run, runs))

    def sentences(self, whose: str) -> tuple[str, str]:
        """Return how long the path is, and the path on a line of its own."""
        return f"Path of {whose}: {counted(len(self.steps), 'hop')}, {self.ends}", self.line

    def to_json(self) -> dict[str, object]:
        return {
            "text": self.line,
            "embeddings": self.embeddings,
            "head": self.head,
            "layers": dict(self.layers),
            "hops": [asdict(step) for step in self.steps],
        }


def _run(run: Sequence[PathStep]) -> str:
    first, last = run[0], run[-1]
    text = f"{first.model} {first.layer}{'' if first is last else f'-{last.layer}'}"
    scales = [step.scale for step in run]
    if all(scale == 1 for scale in scales):
        return text
    shown = scales[:1] if len(set(scales)) == 1 else scales
    return f"{text} ({', '.join(f'x{scale:.3g}' for scale in shown)})"


def read_path(store: RunStore, recipe: Recipe) -> NamedPath | None:
    """Return the path of a recipe of a run; None if it has none.

    Names and layers of the models are those of the baselines that are single models.
    """
    names: dict[str, str] = {}
    layers: dict[str, int] = {}
    for trial in store.trials(BASELINES) if recipe.path else ():
        own = read_recipe(trial)
        if len(own.references) == 1 and not own.merges and trial.name is not None:
            names.setdefault(own.references[0], trial.name)
            if own.path:
                layers[trial.name] = max(hop.layer for hop in own.path) + 1
    of_space = cast("Mapping[str, int]", store.searches().get(MAIN, {}).get("layers", {}))
    return named_path(recipe, names, {**layers, **of_space})


def named_path(recipe: Recipe, names: Mapping[str, str], layers: Mapping[str, int]) -> NamedPath | None:
    """Return the path of a recipe with names by reference; a model without one gets the end of its reference.

    ``layers`` are raised to include all layers that the path uses.
    """
    if not recipe.path:
        return None

    def name(reference: str) -> str:
        return names.get(reference) or re.split(r"[/\\]", reference.rstrip("/\\"))[-1] or reference

    numbers, times, steps = dict(layers), Counter[tuple[str, int]](), list[PathStep]()
    for hop, product in zip(recipe.path, cumulative(recipe.path), strict=True):
        model, layer = name(hop.model), hop.layer
        times[model, layer] += 1
        numbers[model] = max(numbers.get(model, 0), layer + 1)
        time = times[model, layer]
        steps.append(PathStep(model=model, layer=layer, scale=hop.scale, cumulative=product, time=time))
    first, last = (recipe.base_model or hop.model for hop in (recipe.path[0], recipe.path[-1]))
    return NamedPath(steps=tuple(steps), embeddings=name(first), head=name(last), layers=numbers)

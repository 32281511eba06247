"""Weighted means of models, sums of task vectors, and copies; and what methods on task vectors share."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from kingyo.errors import KingyoError
from kingyo.merging.kernels import Mask, Term, WeightedSum
from kingyo.merging.kernels.weighted_sum import SMALLEST_DIVISOR
from kingyo.merging.methods import METHODS
from kingyo.merging.methods.contract import MethodDefaults, MethodValues, OnBase, Parameter, switch
from kingyo.merging.methods.inputs import MergeInputs

WEIGHT = Parameter(
    name="weight", doc="Weight of the source.", search_low=0.0, search_high=1.0, per_source=True
)
EQUAL_WEIGHT = replace(WEIGHT, default=1.0, search_high=1.5)
DENSITY = Parameter(
    name="density",
    doc="Fraction of the task vector's entries that is kept.",
    default=1.0,
    low=0.0,
    high=1.0,
    search_low=0.1,
    search_high=1.0,
    per_source=True,
)
LAMBDA = Parameter(name="lambda", doc="Factor of the merged task vector.", default=1.0)


def rescale(default: bool) -> Parameter:
    return switch(
        "rescale", default, "Rescale the kept entries so that the sum of magnitudes stays the same."
    )


def normalize(default: bool, *, elect: bool = False) -> Parameter:
    doc = "Divide by the sum of the contributing weights."
    if elect:
        doc = "Divide each entry by the sum of the weights that agree on it (disjoint mean)."
    return switch("normalize", default, doc)


def task_vector_sum(
    inputs: MergeInputs,
    values: MethodValues,
    *,
    elect: bool,
    mask: Callable[[int], tuple[Mask | None, float | None]] = lambda _: (None, 1.0),
) -> WeightedSum:
    """Return θ₀ + λ Σ wᵢ rᵢ mᵢδᵢ, the sum divided by that of its weights if normalised.

    Sources of weight 0 are left out, and a divisor below 1e-8 counts as 1. With ``elect``, an entry uses only
    sources that agree with the sign of the sum, also for the divisor. ``mask`` returns a source's mask mᵢ
    (None keeps all entries) and its factor rᵢ; None is the factor that keeps the sum of magnitudes.
    """
    weights = values.each("weight")
    masks = {i: mask(i) for i, weight in enumerate(weights) if weight}
    ratios = inputs.rescalings(
        {i: kept for i, (kept, ratio) in masks.items() if kept is not None and ratio is None}
    )
    terms: list[Term] = []
    for i, (kept, ratio) in masks.items():
        factor = weights[i] * (ratios[i] if ratio is None else ratio)
        terms.append(Term(source=inputs.sources[i], factor=factor, share=weights[i], mask=kept))
    scale, normalized = values.number("lambda"), values.flag("normalize")
    total = math.fsum(weights)
    if normalized and not elect and abs(total) >= SMALLEST_DIVISOR:
        scale /= total
    return WeightedSum(
        shape=inputs.shape,
        terms=tuple(terms),
        base=inputs.base,
        scale=scale,
        elect=elect,
        normalize=normalized and elect,
    )


def kept_count(n: int, density: float) -> int:
    """Return how many of n entries are kept: max(1, int(density · n)), or 0 if n is 0."""
    return min(n, max(1, int(density * n)))


_INERT = "No effect; recipes of mergekit may have it. To drop entries, use ties or dare_linear."


class Linear(MethodDefaults):
    """Σ wᵢθᵢ, divided by Σ wᵢ if normalised."""

    name = "linear"
    doc = "Weighted mean of the models themselves (Wortsman 2022, model soups)."
    params = (
        WEIGHT,
        switch("normalize", True, "Divide by the sum of the weights."),
    )
    when = "Checkpoints of one training run, or fine-tunes close to each other; the usual baseline."
    source = 'Wortsman et al. 2022, "Model soups" (arXiv 2203.05482)'
    differs = (
        "Weights that sum to zero are an error unless normalize is false; mergekit returns infinities.",
    )

    def check(self, values: MethodValues, _n_sources: int) -> None:
        if values.flag("normalize"):
            normalized(values.each("weight"))

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        weights = values.each("weight")
        if values.flag("normalize"):
            weights = normalized(weights)
        return inputs.weighted_sum(weights, "sources")


def normalized(weights: Sequence[float]) -> tuple[float, ...]:
    """Return the weights divided by their sum, or raise a KingyoError if it is zero."""
    total = math.fsum(weights)
    if abs(total) < SMALLEST_DIVISOR:
        expected, remedy = "weights with a nonzero sum", "Change a weight, or set normalize to false."
        raise KingyoError("weight", expected, f"a sum of {total:g}", remedy)
    return tuple(weight / total for weight in weights)


class TaskArithmetic(OnBase):
    """θ₀ + λ Σ wᵢδᵢ, the sum divided by Σ wᵢ if normalised."""

    name = "task_arithmetic"
    doc = "Weighted sum of task vectors, added to the base (Ilharco 2023)."
    params = (
        WEIGHT,
        LAMBDA,
        normalize(False),
        replace(DENSITY, doc=_INERT, inert=True, search_low=None, search_high=None),
        replace(rescale(False), doc=_INERT, inert=True),
    )
    when = "Fine-tunes of one base on different tasks; try it first, since it is the fastest to search."
    source = 'Ilharco et al. 2023, "Editing models with task arithmetic" (arXiv 2212.04089)'

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        return task_vector_sum(inputs, values, elect=False)


class Passthrough(MethodDefaults):
    """scale · θ₁."""

    name = "passthrough"
    doc = "Copy one source, optionally scaled; with slices, stack layers of several models."
    params = (
        Parameter(
            name="scale",
            default=1.0,
            doc="Factor of the tensor; 0 on an output projection turns that part of the layer off.",
            search_low=0.0,
            search_high=1.0,
            per_source=True,
        ),
    )
    max_sources = 1
    when = "To stack layers of one or several models with slices, or to scale tensors of one model."
    source = "Community practice (frankenmerging); the name is mergekit's"

    def describe(self, inputs: MergeInputs, values: MethodValues, /) -> WeightedSum:
        return inputs.weighted_sum(values.each("scale"), "sources")


for _method in (Linear(), TaskArithmetic(), Passthrough()):
    METHODS.register(_method.name)(_method)

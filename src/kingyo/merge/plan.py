"""From a recipe to an inert plan: all that can be known before a weight is touched is checked here."""

from __future__ import annotations

from dataclasses import dataclass

from kingyo.checkpoints import Checkpoint, check_fit
from kingyo.errors import KingyoError, suggest
from kingyo.merge.sources import Sources
from kingyo.merge.values import check_parameters, resolve
from kingyo.methods import METHODS, MergeMethod, MethodValues, takes_base
from kingyo.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class TensorJob:
    """The merge of one tensor, all numbers resolved.

    Attributes:
        name, shape: of the tensor.
        dtype: of the result (torch's name).
        method: None for tensors that are not floating point: they must be equal and are copied.
        sources: references of the merged models, without the base.
        base: reference of the base, or None.
        values: the method's parameters.
        seed: of random methods.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    method: MergeMethod | None
    sources: tuple[str, ...]
    base: str | None
    values: MethodValues
    seed: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What computing a recipe will do. Nothing is computed yet."""

    recipe: Recipe
    method: MergeMethod
    jobs: tuple[TensorJob, ...]
    sources: Sources
    like: Checkpoint

    def describe(self) -> str:
        """The plan as text: one line for each tensor with its shape, dtype and values."""
        first = self.jobs[0]
        lines = [f"{self.method.name} of {len(first.sources)}: {', '.join(first.sources)}"]
        lines += [f"base: {first.base}"] if first.base is not None else []
        lines += [f"seed: {first.seed}"] if self.method.stochastic else []
        return "\n".join([*lines, *(_describe(job) for job in self.jobs)])


def plan(recipe: Recipe, sources: Sources) -> Plan:
    """Plan a merge.

    Args:
        recipe: what to merge.
        sources: the opened models, by the references that the recipe uses.

    Raises:
        KingyoError: unknown method or parameter, a missing, misplaced or invalid value, too few or too many
            sources, or models that do not fit together: the tensor and both shapes are named.
    """
    method = METHODS.get(recipe.merge_method, sources.folder)
    merged = _merged_positions(recipe, method)
    check_parameters(recipe, method, merged)
    references = _references(recipe, sources)
    like = sources[recipe.base_model or recipe.sources[0].model]
    for reference in references:
        check_fit(like, sources[reference])
    job_sources = tuple(recipe.sources[i].model for i in merged)
    jobs = tuple(
        TensorJob(
            name=info.name,
            shape=info.shape,
            dtype=(recipe.dtype or info.stored_dtype) if info.is_floating else info.dtype,
            method=method if info.is_floating else None,
            sources=job_sources,
            base=recipe.base_model,
            values=resolve(recipe, method, merged, info.name, like.layout.depth(info.name)),
            seed=recipe.seed,
        )
        for info in like.tensors.values()
    )
    return Plan(recipe=recipe, method=method, jobs=jobs, sources=sources, like=like)


def _references(recipe: Recipe, opened: Sources) -> list[str]:
    wanted = [source.model for source in recipe.sources]
    if recipe.base_model is not None:
        wanted.append(recipe.base_model)
    for reference in wanted:
        if reference not in opened:
            remedy = suggest(reference, opened)
            raise KingyoError("model", expected="an opened model", received=f"'{reference}'", remedy=remedy)
    return wanted


def _merged_positions(recipe: Recipe, method: MergeMethod) -> list[int]:
    """Which of the recipe's sources are merged: all, but the base of a method on task vectors."""
    positions = list(range(len(recipe.sources)))
    if method.needs_base and recipe.base_model is None:
        raise KingyoError(
            "base_model",
            expected=f"a base for {method.name}",
            received="nothing",
            remedy="Name the models' common ancestor, or take the method linear.",
        )
    on_base = takes_base(method) and recipe.base_model is not None
    if on_base:
        positions = [i for i in positions if recipe.sources[i].model != recipe.base_model]
    least, most = method.min_sources, method.max_sources
    if len(positions) < least or (most is not None and len(positions) > most):
        wanted = (
            f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
        )
        without = " beside the base" if on_base else ""
        raise KingyoError(
            "models",
            expected=f"{wanted} for {method.name}{without}",
            received=f"{len(positions)}",
            remedy="Name another number of models, or take another method.",
        )
    return positions


def _describe(job: TensorJob) -> str:
    if job.method is None:
        return f"  {job.name} {list(job.shape)} {job.dtype}: copied"
    parts = [f"{name} {value:g}" for name, value in job.values.shared.items()]
    for name, numbers in job.values.per_source.items():
        parts.append(f"{name} {' '.join(f'{number:g}' for number in numbers)}")
    return f"  {job.name} {list(job.shape)} {job.dtype}: {', '.join(parts)}"

"""From a recipe to weights: an inert plan, and the two places where its result can go.

``plan`` checks all that can be known before a weight is touched. ``into`` fills a live model, ``to_folder``
writes a checkpoint; both run the same jobs, so both give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from kingyo.checkpoints import Checkpoint, check_fit, open_checkpoint, whole_path, write_checkpoint
from kingyo.errors import KingyoError, suggest
from kingyo.methods import METHODS, MergeMethod, MethodValues, Parameter
from kingyo.methods.noise import NoiseCache, TensorNoise
from kingyo.recipe import Recipe
from kingyo.registry import whole_reference

_LOAD_LIVE = "Load the live model from one of the models of the recipe."

Read = Callable[[str, str], Tensor]
"""Model reference, tensor name -> the tensor as stored."""


class Sources(Mapping[str, Checkpoint]):
    """Opened checkpoints by reference, and what candidates of one search share: weights and random numbers.

    Args:
        checkpoints: by the references that recipes use.
        folder: where a recipe's ``path/to/file.py:Name`` begins; the working directory when None.
        noise_bytes: how many bytes of random numbers are kept for the next candidate.
    """

    def __init__(
        self, checkpoints: Mapping[str, Checkpoint], folder: Path | None = None, noise_bytes: int = 64 << 20
    ) -> None:
        self._checkpoints = dict(checkpoints)
        self.folder = folder
        self.noise = NoiseCache(noise_bytes)

    def __getitem__(self, reference: str) -> Checkpoint:
        return self._checkpoints[reference]

    def __iter__(self) -> Iterator[str]:
        return iter(self._checkpoints)

    def __len__(self) -> int:
        return len(self._checkpoints)

    def read(self, reference: str, tensor: str) -> Tensor:
        """Return a tensor as stored; never write to it."""
        return self._checkpoints[reference].read(tensor)


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


def rooted(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe with whole paths of local files, so that it can be merged from anywhere on this machine."""

    def place(reference: str) -> str:
        return str(whole_path(reference, folder) or reference)

    return replace(
        recipe,
        merge_method=whole_reference(recipe.merge_method, folder),
        base_model=None if recipe.base_model is None else place(recipe.base_model),
        sources=tuple(replace(source, model=place(source.model)) for source in recipe.sources),
    )


def open_sources(recipe: Recipe, folder: Path | None = None) -> Sources:
    """Open all models of a recipe; relative folders begin at ``folder``."""
    references = dict.fromkeys(source.model for source in recipe.sources)
    if recipe.base_model is not None:
        references[recipe.base_model] = None
    opened = {reference: open_checkpoint(reference, folder) for reference in references}
    return Sources(opened, folder)


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
    _check_parameters(recipe, method, merged)
    references = _references(recipe, sources)
    like = sources[recipe.base_model or recipe.sources[0].model]
    for reference in references:
        check_fit(like, sources[reference])
    job_sources = tuple(recipe.sources[i].model for i in merged)
    jobs = tuple(
        TensorJob(
            name=info.name,
            shape=info.shape,
            dtype=(recipe.dtype or info.dtype) if info.is_floating else info.dtype,
            method=method if info.is_floating else None,
            sources=job_sources,
            base=recipe.base_model,
            values=_resolve(recipe, method, merged, info.name, like.layout.depth(info.name)),
            seed=recipe.seed,
        )
        for info in like.tensors.values()
    )
    return Plan(recipe=recipe, method=method, jobs=jobs, sources=sources, like=like)


def compute(job: TensorJob, read: Read, noise: NoiseCache | None = None) -> Tensor:
    """Merge one tensor: in float32, rounded once to the dtype of the job.

    Raises:
        KingyoError: the result is NaN or infinite, or integers differ between the models.
    """
    tensors = [read(reference, job.name) for reference in job.sources]
    base = read(job.base, job.name) if job.base is not None else None
    if job.method is None:
        return _same(job, tensors if base is None else [base, *tensors])
    merged = job.method(tensors, base, job.values, TensorNoise(job.seed, job.name, noise))
    rounded = merged.to(getattr(torch, job.dtype))
    if rounded.numel() and not _is_finite(rounded):
        raise KingyoError(
            job.name,
            expected="finite merged weights",
            received=f"NaN or infinity in {job.dtype} from {', '.join(job.sources)}",
            remedy="A source is broken, or its weight is too large.",
        )
    return rounded


def into(plan: Plan, weights: Mapping[str, Tensor]) -> None:
    """Write a merge into a live model, in place. After an error its weights are a mixture: fill it again.

    Args:
        plan: what to compute.
        weights: the live tensors by their names in the checkpoint, in the dtype of the plan or a wider one.
            A further name for the same memory (a tied head) is allowed.

    Raises:
        KingyoError: names, shapes or dtypes differ, or see ``compute``.
    """
    _check_live(plan, weights)
    with torch.no_grad():
        for job in plan.jobs:
            weights[job.name].copy_(compute(job, plan.sources.read, plan.sources.noise))


def to_folder(plan: Plan, out: Path, files: Mapping[str, str] | None = None) -> Path:
    """Write a merge as a checkpoint, one tensor in memory at a time; all or nothing.

    Args:
        plan: what to compute.
        out: a new or empty folder.
        files: further text files for it, name -> content.

    Raises:
        KingyoError: see ``compute`` and ``write_checkpoint``.
    """
    tensors = ((job.name, compute(job, plan.sources.read)) for job in plan.jobs)
    return write_checkpoint(out, tensors, like=plan.like, files=files)


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
    if method.needs_base:
        if recipe.base_model is None:
            raise KingyoError(
                "base_model",
                expected=f"a base for {method.name}",
                received="nothing",
                remedy="Name the models' common ancestor, or take the method linear.",
            )
        positions = [i for i in positions if recipe.sources[i].model != recipe.base_model]
    least, most = method.min_sources, method.max_sources
    if len(positions) < least or (most is not None and len(positions) > most):
        wanted = (
            f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
        )
        without = " beside the base" if method.needs_base else ""
        raise KingyoError(
            "models",
            expected=f"{wanted} for {method.name}{without}",
            received=f"{len(positions)}",
            remedy="Name another number of models, or take another method.",
        )
    return positions


def _check_parameters(recipe: Recipe, method: MergeMethod, merged: Sequence[int]) -> None:
    known = {parameter.name: parameter for parameter in method.params}
    levels = [("parameters", recipe.parameters), *((each.model, each.parameters) for each in recipe.sources)]
    for i, (where, values) in enumerate(levels):
        for name in values:
            if name not in known:
                raise KingyoError(
                    where,
                    expected=f"parameters of {method.name}",
                    received=f"'{name}'",
                    remedy=suggest(name, known),
                )
            if i > 0 and not known[name].per_source:
                remedy = "Give it under parameters: of the recipe."
                raise KingyoError(where, expected="its own values", received=f"'{name}'", remedy=remedy)
            if i > 0 and i - 1 not in merged:
                raise KingyoError(
                    where,
                    expected="no parameters for the base, which has no task vector",
                    received=f"'{name}'",
                    remedy="Leave it out.",
                )


def _resolve(
    recipe: Recipe, method: MergeMethod, merged: Sequence[int], tensor: str, depth: float
) -> MethodValues:
    shared: dict[str, float | bool] = {}
    per_source: dict[str, tuple[float, ...]] = {}
    for parameter in method.params:
        if not parameter.per_source:
            value = recipe.value_of(parameter.name, None, tensor, depth)
            shared[parameter.name] = _valid(parameter, value, tensor)
            continue
        per_source[parameter.name] = tuple(
            _valid(parameter, recipe.value_of(parameter.name, i, tensor, depth), recipe.sources[i].model)
            for i in merged
        )
    return MethodValues(shared=shared, per_source=per_source)


def _valid(parameter: Parameter, value: float | bool | None, where: str) -> float | bool:
    if value is None:
        value = parameter.default
    if value is None:
        raise KingyoError(
            f"{parameter.name} of {where}",
            expected=f"a value: {parameter.doc}",
            received="nothing",
            remedy="Give it under parameters: of the model or of the recipe.",
        )
    return parameter.check(value, where)


def _check_live(plan: Plan, weights: Mapping[str, Tensor]) -> None:
    planned = {job.name for job in plan.jobs}
    memory = {weights[name].data_ptr() for name in planned & weights.keys()}
    extra = [name for name in weights if name not in planned and weights[name].data_ptr() not in memory]
    odd = sorted({*extra, *(planned - weights.keys())})
    if odd:
        side = "not in the live model" if odd[0] in planned else "not in the plan"
        raise KingyoError(
            "weights",
            expected="the tensors of the plan",
            received=f"'{odd[0]}', which is {side}",
            remedy=_LOAD_LIVE,
        )
    for job in plan.jobs:
        live = weights[job.name]
        if tuple(live.shape) != job.shape:
            raise KingyoError(
                job.name,
                expected=f"{list(job.shape)}",
                received=f"{list(live.shape)} live",
                remedy=_LOAD_LIVE,
            )
        if torch.promote_types(getattr(torch, job.dtype), live.dtype) != live.dtype:
            raise KingyoError(
                job.name,
                expected=f"a live model that holds {job.dtype}",
                received=str(live.dtype).removeprefix("torch."),
                remedy="Give the recipe the live model's dtype, or load the model in the recipe's.",
            )


def _same(job: TensorJob, tensors: Sequence[Tensor]) -> Tensor:
    if any(not torch.equal(tensors[0], tensor) for tensor in tensors[1:]):
        raise KingyoError(
            job.name,
            expected="equal values in all models, since they are not floating point",
            received="values that differ",
            remedy="Merge models of one architecture and vocabulary.",
        )
    return tensors[0]


def _is_finite(tensor: Tensor) -> bool:
    low, high = torch.aminmax(tensor)
    return bool(torch.isfinite(low)) and bool(torch.isfinite(high))


def _describe(job: TensorJob) -> str:
    if job.method is None:
        return f"  {job.name} {list(job.shape)} {job.dtype}: copied"
    parts = [f"{name} {value:g}" for name, value in job.values.shared.items()]
    for name, numbers in job.values.per_source.items():
        parts.append(f"{name} {' '.join(f'{number:g}' for number in numbers)}")
    return f"  {job.name} {list(job.shape)} {job.dtype}: {', '.join(parts)}"

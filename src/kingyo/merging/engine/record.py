"""Describe a planned merge: its tensors in a few lines, its memory and disk, and all of it as plain data.

Tensors that differ only in the number of a layer are one line: a model of three hundred has about a dozen.
Needs follow from headers alone. Bytes are exact. Memory is a formula for the largest resident size: the
program, the small tensors, which are cached, the sources of the largest tensor, and what the method computes
beside them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

from kingyo.merging.checkpoints import TensorInfo
from kingyo.merging.engine.book import PlannedOutput
from kingyo.merging.engine.jobs import TensorJob
from kingyo.merging.engine.modules import ModuleMerge, expand_modules, path_to_slices
from kingyo.merging.engine.plan import Plan
from kingyo.merging.engine.preflight import Preflight, existing_parent

PROGRAM, PROGRAM_WITH_NUMBA, PROGRAM_WITH_TORCH = 100_000_000, 200_000_000, 330_000_000
"""Bytes of the process before it reads a tensor, measured on x86-64 Linux; numba compiles loops once."""
_FLOAT32, _FLOAT64 = 4, 8


@dataclass(frozen=True, kw_only=True)
class MergeForecast:
    """The disk that a merge needs: tensors in source files, each counted once, and new weight files."""

    read_bytes: int
    read_files: int
    written_bytes: int
    free_bytes: int


def estimate(preflight: Preflight) -> MergeForecast:
    """Return what all outputs of a merge read and write, from headers alone."""
    plans = [output.plan for output in preflight.outputs]
    stored = {info for plan in plans for job in plan.jobs for info in stored_tensors(plan, job)}
    return MergeForecast(
        read_bytes=sum(info.n_bytes for info in stored),
        read_files=len({info.file for info in stored}),
        written_bytes=sum(output.n_bytes for output in preflight.outputs),
        free_bytes=shutil.disk_usage(existing_parent(preflight.out)).free,
    )


def stored_tensors(plan: Plan, job: TensorJob) -> Iterator[TensorInfo]:
    left = [(plan.sources[each.reference], each.tensor) for each in job.reads]
    while left:
        model, name = left.pop()
        needs = model.needs(name)
        yield from needs.stored
        left += needs.others


Json: TypeAlias = Mapping[str, object]
Range: TypeAlias = tuple[float | bool, float | bool]
"""The smallest and the largest value of a parameter in a group."""
_NUMBERS = re.compile(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.)")


@dataclass(frozen=True, kw_only=True)
class JobGroup:
    """Tensors with the same shape, dtype and sources, whose names differ only in numbers."""

    label: str  # the names as one, such as ``model.layers.{0–23}.mlp.up_proj.weight``
    count: int
    shape: tuple[int, ...]
    dtype: str
    how: tuple[str, ...]  # such as ``weight 0.5``; with one value for each source if they differ
    values: Mapping[str, tuple[Range, ...]]  # by parameter, one for each source or one for all of them
    is_merged: bool  # not copied


def heading(plan: Plan) -> list[str]:
    """Return lines that name method, models, base, seed and vocabulary."""
    modules = expand_modules(path_to_slices(plan.recipe, plan.sources), plan.method)
    lines = [f"{plan.method.name} of {line}" for each in modules for line in _describe_module(each)]
    lines += [f"base: {plan.recipe.base_model}"] if plan.recipe.base_model is not None else []
    lines += [f"seed: {plan.recipe.seed}"] if plan.method.stochastic else []
    return lines + (plan.vocabulary.describe() if plan.vocabulary is not None else [])


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
    return f"{first}–{first + n - 1}" if n > 1 else str(first)


def group(plan: Plan) -> tuple[JobGroup, ...]:
    forms: dict[tuple[object, ...], list[TensorJob]] = {}
    for job in plan.jobs:
        inputs = tuple(_NUMBERS.sub("*", each.tensor) for each in job.inputs)
        key = (_NUMBERS.sub("*", job.name), job.shape, job.dtype, job.method is None, inputs, job.sources)
        forms.setdefault(key, []).append(job)
    return tuple(map(_group, forms.values()))


def ungrouped(plan: Plan) -> tuple[JobGroup, ...]:
    return tuple(_group([job]) for job in plan.jobs)


def common_text(groups: Sequence[JobGroup]) -> tuple[str, ...]:
    """Return the parts of ``how`` that all merged groups share."""
    merged = [each.how for each in groups if each.is_merged]
    return tuple(part for part in (merged[0] if merged else ()) if all(part in how for how in merged))


def _group(jobs: Sequence[TensorJob]) -> JobGroup:
    first, values = jobs[0], _values(jobs)
    return JobGroup(
        label=_label([job.name for job in jobs]),
        count=len(jobs),
        shape=first.shape,
        dtype=first.dtype,
        how=_how(first, values),
        values=values,
        is_merged=first.method is not None,
    )


def _label(names: Sequence[str]) -> str:
    parts = _NUMBERS.split(names[0])
    columns = zip(*(map(int, _NUMBERS.findall(name)) for name in names), strict=True)
    numbers = [*(_ranges(sorted(set(column))) for column in columns), ""]
    return "".join(part + number for part, number in zip(parts, numbers, strict=True))


def _ranges(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return str(numbers[0])
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
    return f"{{{','.join(texts)}}}"


def _values(jobs: Sequence[TensorJob]) -> Mapping[str, tuple[Range, ...]]:
    shared = {name: [(job.values.shared[name],) for job in jobs] for name in jobs[0].values.shared}
    rows = shared | {
        name: [job.values.per_source[name] for job in jobs] for name in jobs[0].values.per_source
    }
    return {
        name: tuple((min(column), max(column)) for column in zip(*values, strict=True))
        for name, values in rows.items()
    }


def _how(job: TensorJob, values: Mapping[str, tuple[Range, ...]]) -> tuple[str, ...]:
    if job.method is None:
        sources = ", ".join(job.sources)
        return (f"copied from {sources}" if len(job.inputs) == 1 else f"must be equal in {sources}",)
    texts = {name: list(map(_range_text, ranges)) for name, ranges in values.items()}
    return tuple(
        f"{name} {' '.join(all_ if len(set(all_)) > 1 else all_[:1])}" for name, all_ in texts.items()
    )


def _range_text(ends: Range) -> str:
    least, most = (str(end).lower() if isinstance(end, bool) else f"{end:.4g}" for end in ends)
    return least if least == most else f"{least}…{most}"


def preflight_record(preflight: Preflight, forecast: MergeForecast | None, *, verbose: bool = False) -> Json:
    """Return everything that is known of a merge; ``verbose``: with one group for each tensor."""
    return {
        "recipe": preflight.name,
        "targets": [
            {
                **output_record(output),
                "models": _models(output, preflight),
                "groups": [*map(_group_record, (ungrouped if verbose else group)(output.plan))],
            }
            for output in preflight.outputs
        ],
        "estimate": None if forecast is None else asdict(forecast),
        **diagnostics_record(preflight),
    }


def diagnostics_record(preflight: Preflight) -> Json:
    """Return the warnings and notes; commands print errors as ``Preflight.error``."""
    keys = ("argument", "expected", "received", "remedy")
    return {
        "warnings": [{key: getattr(each, key) for key in keys} for each in preflight.of("warning")],
        "notes": [{key: getattr(each, key) for key in keys} for each in preflight.of("note")],
    }


def output_record(output: PlannedOutput) -> Json:
    return {
        "out": str(output.out),
        "method": output.plan.method.name,
        "tensors": len(output.plan.jobs),
        "parameters": output.plan.like.n_parameters,
        "bytes": output.n_bytes,
        "files": {shard.file: shard.n_bytes for shard in output.shards},
    }


def _models(output: PlannedOutput, preflight: Preflight) -> list[Json]:
    return [
        {
            "role": origin.name,
            "model": origin.reference,
            "commit": origin.commit,
            "licence": origin.licence,
            "lora_licence": origin.lora_licence,
            "dtypes": sorted({info.stored_dtype for info in model.tensors.values()}),
            "bytes": sum(info.n_bytes for info in model.tensors.values()),
            "parameters": model.n_parameters,
        }
        for origin in output.origins
        for model in (preflight.models[origin.reference],)
    ]


def _group_record(each: JobGroup) -> Json:
    values = {
        name: [low if low == high else {"least": low, "most": high} for low, high in ranges]
        for name, ranges in each.values.items()
    }
    record = asdict(each) | {"tensors": each.label, "values": values}
    return {key: record[key] for key in ("tensors", "count", "shape", "dtype", "how", "values")}

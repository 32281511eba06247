"""Describe a planned merge: its tensors in a few lines, and all of it as plain data.

Tensors that differ only in the number of a layer are one line: a model of three hundred has about a dozen.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kingyo.merging.engine.book import PlannedOutput
from kingyo.merging.engine.jobs import TensorJob
from kingyo.merging.engine.modules import ModuleMerge, expand_modules, path_to_slices
from kingyo.merging.engine.plan import Plan
from kingyo.merging.engine.preflight import Preflight

Json: TypeAlias = Mapping[str, object]
_NUMBERS = re.compile(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.)")


@dataclass(frozen=True, kw_only=True)
class JobGroup:
    """Tensors with the same shape, dtype and sources, whose names differ only in numbers."""

    label: str  # the names as one, such as ``model.layers.{0–23}.mlp.up_proj.weight``
    count: int
    shape: tuple[int, ...]
    dtype: str
    how: tuple[str, ...]  # such as ``weight 0.5``; with one value for each source if they differ
    is_merged: bool  # not copied


def heading(plan: Plan) -> list[str]:
    """Return lines that name method, models, base, seed and vocabulary."""
    modules = expand_modules(path_to_slices(plan.recipe, plan.sources), plan.method)
    lines = [f"{plan.method.name} of {line}" for each in modules for line in _describe_module(each)]
    lines += [f"base: {plan.recipe.base_model}"] if plan.recipe.base_model is not None else []
    lines += [f"seed: {plan.recipe.seed}"] if plan.method.stochastic else []
    return lines + (plan.vocabulary.describe() if plan.vocabulary is not None else [])


def _describe_module(module: ModuleMerge) -> Iterator[str]:
    of_module = f" ({module.name})" if module.name else ""
    for piece in module.pieces:
        n = piece.n_layers
        ranges = ["" if n is None else f" [{each.start}, {each.start + n}]" for each in piece.merged]
        names = (f"{each.reference}{layers}" for each, layers in zip(piece.merged, ranges, strict=True))
        yield f"{len(piece.merged)}: {', '.join(names)}{of_module}"


def group(plan: Plan) -> tuple[JobGroup, ...]:
    forms: dict[tuple[object, ...], list[TensorJob]] = {}
    for job in plan.jobs:
        inputs = tuple(_NUMBERS.sub("*", each.tensor) for each in job.inputs)
        key = (_NUMBERS.sub("*", job.name), job.shape, job.dtype, job.method is None, inputs, job.sources)
        forms.setdefault(key, []).append(job)
    return tuple(map(_group, forms.values()))


def common_text(groups: Sequence[JobGroup]) -> tuple[str, ...]:
    """Return the parts of ``how`` that all merged groups share."""
    merged = [each.how for each in groups if each.is_merged]
    return tuple(part for part in (merged[0] if merged else ()) if all(part in how for how in merged))


def _group(jobs: Sequence[TensorJob]) -> JobGroup:
    first = jobs[0]
    return JobGroup(
        label=_label([job.name for job in jobs]),
        count=len(jobs),
        shape=first.shape,
        dtype=first.dtype,
        how=_how(jobs),
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
    is_range = numbers[-1] - numbers[0] == len(numbers) - 1
    return f"{{{numbers[0]}–{numbers[-1]}}}" if is_range else f"{{{','.join(map(str, numbers))}}}"


def _how(jobs: Sequence[TensorJob]) -> tuple[str, ...]:
    """Return ``name value`` of each parameter, with one value for each source if they differ."""
    job = jobs[0]
    if job.method is None:
        sources = ", ".join(job.sources)
        return (f"copied from {sources}" if len(job.inputs) == 1 else f"must be equal in {sources}",)
    rows = {name: [(each.values.shared[name],) for each in jobs] for name in job.values.shared}
    rows |= {name: [each.values.per_source[name] for each in jobs] for name in job.values.per_source}
    texts: list[str] = []
    for name, values in rows.items():
        of_sources = [_range_text(column) for column in zip(*values, strict=True)]
        texts.append(f"{name} {' '.join(of_sources if len(set(of_sources)) > 1 else of_sources[:1])}")
    return tuple(texts)


def _range_text(values: Sequence[float | bool]) -> str:
    ends = (min(values), max(values))
    least, most = (str(end).lower() if isinstance(end, bool) else f"{end:.4g}" for end in ends)
    return least if least == most else f"{least}…{most}"


def preflight_record(preflight: Preflight) -> Json:
    """Return everything that is known of a merge."""
    return {
        "recipe": preflight.name,
        "targets": [
            {
                **output_record(output),
                "models": _models(output, preflight),
                "groups": [
                    {
                        "tensors": each.label,
                        "count": each.count,
                        "shape": each.shape,
                        "dtype": each.dtype,
                        "how": each.how,
                    }
                    for each in group(output.plan)
                ],
            }
            for output in preflight.outputs
        ],
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

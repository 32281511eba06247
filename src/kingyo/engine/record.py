"""The plan of a merge in few lines, and the result of checking it as plain data, for ``--json``.

Tensors that differ only in the number of a layer are one line: a model of three hundred has about a dozen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from kingyo.engine.jobs import TensorJob
from kingyo.engine.outputs import PlannedOutput
from kingyo.engine.plan import Plan
from kingyo.engine.preflight import Preflight
from kingyo.engine.sizes import MergeForecast
from kingyo.lineage import Origin
from kingyo.vocabulary import Diagnostic

Json: TypeAlias = Mapping[str, object]
Range: TypeAlias = tuple[float | bool, float | bool]
"""The smallest and the largest value of a parameter in a group."""
_NUMBERS = re.compile(r"(?<=\.)\d+(?=\.|$)|^\d+(?=\.)")


@dataclass(frozen=True, kw_only=True)
class JobGroup:
    """Tensors with the same shape, dtype and sources, whose names differ only in numbers.

    Attributes:
        label: the names as one, such as ``model.layers.{0–23}.mlp.up_proj.weight``.
        count: their number.
        shape, dtype: those of each tensor.
        how: what is done with them, such as ``weight 0.5``; a list has one value for each source.
        values: ranges by parameter, one for each source or one for all of them.
        is_merged: whether they are merged and not copied.
    """

    label: str
    count: int
    shape: tuple[int, ...]
    dtype: str
    how: tuple[str, ...]
    values: Mapping[str, tuple[Range, ...]]
    is_merged: bool


def group(plan: Plan) -> tuple[JobGroup, ...]:
    """Return the groups of a plan's tensors."""
    forms: dict[tuple[object, ...], list[TensorJob]] = {}
    for job in plan.jobs:
        inputs = tuple(_NUMBERS.sub("*", each.tensor) for each in job.inputs)
        key = (_NUMBERS.sub("*", job.name), job.shape, job.dtype, job.method is None, inputs, job.sources)
        forms.setdefault(key, []).append(job)
    return tuple(map(_group, forms.values()))


def ungrouped(plan: Plan) -> tuple[JobGroup, ...]:
    """Return one group for each tensor."""
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
    """Return one name for all; numbers that differ become ranges in braces."""
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
        "recipe": preflight.request.name,
        "targets": [_output(output, preflight, verbose=verbose) for output in preflight.outputs],
        "estimate": None if forecast is None else _forecast(forecast),
        **findings_record(preflight.findings),
    }


def findings_record(findings: Iterable[Diagnostic]) -> Json:
    """Return the warnings and notes; commands print errors as ``Preflight.error``."""
    listed = tuple(findings)
    return {
        f"{level}s": [_finding(each) for each in listed if each.level == level]
        for level in ("warning", "note")
    }


def output_record(output: PlannedOutput) -> Json:
    """Return one output."""
    return {
        "out": str(output.out),
        "method": output.plan.method.name,
        "tensors": len(output.plan.jobs),
        "parameters": output.plan.like.n_parameters,
        "bytes": output.n_bytes,
        "files": {shard.file: shard.n_bytes for shard in output.shards},
    }


def _output(output: PlannedOutput, preflight: Preflight, *, verbose: bool) -> Json:
    groups = ungrouped(output.plan) if verbose else group(output.plan)
    return {
        **output_record(output),
        "models": [_origin(origin, preflight) for origin in output.origins],
        "groups": [_group_record(each) for each in groups],
    }


def _origin(origin: Origin, preflight: Preflight) -> Json:
    model = preflight.steps.models[origin.reference]
    return {
        "role": origin.name,
        "model": origin.reference,
        "commit": origin.commit,
        "licence": origin.licence,
        "lora_licence": origin.lora_licence,
        "dtypes": sorted({info.stored_dtype for info in model.tensors.values()}),
        "bytes": sum(info.n_bytes for info in model.tensors.values()),
        "parameters": model.n_parameters,
    }


def _group_record(each: JobGroup) -> Json:
    return {
        "tensors": each.label,
        "count": each.count,
        "shape": list(each.shape),
        "dtype": each.dtype,
        "how": list(each.how),
        "values": {
            name: [low if low == high else {"least": low, "most": high} for low, high in ranges]
            for name, ranges in each.values.items()
        },
    }


def _forecast(forecast: MergeForecast) -> Json:
    return {
        "read_bytes": forecast.read,
        "read_files": forecast.files,
        "written_bytes": forecast.written,
        "free_bytes": forecast.free,
        "peak_memory_bytes": forecast.peak,
        "memory_bytes": dict(forecast.memory),
    }


def _finding(each: Diagnostic) -> Json:
    return {key: getattr(each, key) for key in ("argument", "expected", "received", "remedy")}

"""The result of checking a merge as plain data, for ``--json``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from kingyo.engine.preflight.groups import JobGroup, ValueRange, group, ungrouped
from kingyo.engine.preflight.merge import Preflight
from kingyo.engine.preflight.planned import PlannedOutput
from kingyo.engine.preflight.sizes import MergeForecast
from kingyo.lineage import Origin
from kingyo.vocabulary import Diagnostic

Json: TypeAlias = Mapping[str, object]


def preflight_record(preflight: Preflight, forecast: MergeForecast | None, *, verbose: bool = False) -> Json:
    """Return everything that is known of a merge.

    Args:
        preflight: the result of the check.
        forecast: what the merge needs; None if nothing can be merged.
        verbose: one group for each tensor.
    """
    return {
        "recipe": preflight.request.name,
        "targets": [_target(target, preflight, verbose=verbose) for target in preflight.targets],
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


def target_record(target: PlannedOutput) -> Json:
    """Return one output."""
    return {
        "out": str(target.out),
        "method": target.plan.method.name,
        "tensors": len(target.plan.jobs),
        "parameters": target.plan.like.n_parameters,
        "bytes": target.n_bytes,
        "files": {shard.file: shard.n_bytes for shard in target.shards},
    }


def _target(target: PlannedOutput, preflight: Preflight, *, verbose: bool) -> Json:
    groups = ungrouped(target.plan) if verbose else group(target.plan)
    return {
        **target_record(target),
        "kept_files": 0 if preflight.error else target.n_kept,
        "models": [_origin(origin, preflight) for origin in target.origins],
        "groups": [_group(each) for each in groups],
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


def _group(each: JobGroup) -> Json:
    return {
        "tensors": each.label,
        "count": len(each.names),
        "shape": list(each.shape),
        "dtype": each.dtype,
        "how": list(each.how),
        "values": {name: [_value(value) for value in values] for name, values in each.values.items()},
    }


def _value(value: ValueRange) -> object:
    """Return a number, or a mapping if the value differs between tensors of the group."""
    if value.least == value.most:
        return value.least
    gradient = None if value.gradient is None else list(value.gradient)
    return {"least": value.least, "most": value.most, "gradient": gradient, "filter": value.filter}


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

"""A survey and its estimate as plain data, for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from kingyo.engine.preflight.estimate import MergeForecast
from kingyo.engine.preflight.groups import MergeGroup, ValueRange, group, ungrouped
from kingyo.engine.preflight.survey import PlannedOutput, Preflight
from kingyo.lineage import Origin
from kingyo.vocabulary import Diagnostic

Json: TypeAlias = Mapping[str, object]


def survey_record(survey: Preflight, estimated: MergeForecast | None, *, whole: bool = False) -> Json:
    """What is known of a merge.

    Args:
        survey: what was found.
        estimated: what it will take; None when nothing can be merged.
        whole: every tensor by itself.
    """
    return {
        "recipe": survey.request.name,
        "targets": [_target(target, survey, whole=whole) for target in survey.targets],
        "estimate": None if estimated is None else _estimate(estimated),
        **findings_record(survey.findings),
    }


def findings_record(findings: Iterable[Diagnostic]) -> Json:
    """Return warnings and notes; commands print the errors as ``Survey.error``."""
    found = tuple(findings)
    return {
        f"{level}s": [_finding(each) for each in found if each.level == level]
        for level in ("warning", "note")
    }


def target_record(target: PlannedOutput) -> Json:
    """One model that is, or will be, written."""
    return {
        "out": str(target.out),
        "method": target.plan.method.name,
        "tensors": len(target.plan.jobs),
        "parameters": target.plan.like.n_parameters,
        "bytes": target.n_bytes,
        "files": {shard.file: shard.n_bytes for shard in target.shards},
    }


def _target(target: PlannedOutput, survey: Preflight, *, whole: bool) -> Json:
    groups = ungrouped(target.plan) if whole else group(target.plan)
    return {
        **target_record(target),
        "kept_files": 0 if survey.error else target.n_kept,
        "models": [_origin(origin, survey) for origin in target.origins],
        "groups": [_group(each) for each in groups],
    }


def _origin(origin: Origin, survey: Preflight) -> Json:
    model = survey.steps.models[origin.reference]
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


def _group(each: MergeGroup) -> Json:
    return {
        "tensors": each.label,
        "count": len(each.names),
        "shape": list(each.shape),
        "dtype": each.dtype,
        "how": list(each.how),
        "values": {name: [_value(told) for told in values] for name, values in each.values.items()},
    }


def _value(told: ValueRange) -> object:
    """A number, or a mapping where tensors of the group have different ones."""
    if told.least == told.most:
        return told.least
    gradient = None if told.gradient is None else list(told.gradient)
    return {"least": told.least, "most": told.most, "gradient": gradient, "filter": told.filter}


def _estimate(found: MergeForecast) -> Json:
    return {
        "read_bytes": found.read,
        "read_files": found.files,
        "written_bytes": found.written,
        "free_bytes": found.free,
        "peak_memory_bytes": found.peak,
        "memory_bytes": dict(found.memory),
    }


def _finding(each: Diagnostic) -> Json:
    return {
        "argument": each.argument,
        "expected": each.expected,
        "received": each.received,
        "remedy": each.remedy,
    }

"""A comparison as plain data, for ``--json``."""

from __future__ import annotations

from kingyo.compare.comparison_sums import CheckpointComparison, ComparisonSums
from kingyo.compare.method_advice import advise, letter

Json = dict[str, object]


def to_record(comparison: CheckpointComparison) -> Json:
    """Return all measures by group, layer, kind and in total, models by letter; None if undefined."""
    return {
        "models": {letter(i): reference for i, reference in enumerate(comparison.models)},
        "base": comparison.base,
        "total": _sums(comparison.total),
        "kinds": {kind: _sums(sums) for kind, sums in comparison.kinds.items()},
        "layers": {layer: _sums(sums) for layer, sums in comparison.layers.items()},
        "groups": [
            {"layer": group.layer, "kind": group.kind, **_sums(group.measures)} for group in comparison.groups
        ],
        "notes": list(comparison.notes),
        "advice": list(advise(comparison)),
    }


def _sums(sums: ComparisonSums) -> Json:
    record: Json = {"numbers": sums.numbers}
    if sums.has_base:
        record["base_norm"] = sums.norm(-1)
    record["models"] = {letter(i): _model(sums, i) for i in range(sums.n_models)}
    record["pairs"] = {f"{letter(i)}-{letter(j)}": _pair(sums, i, j) for i, j in sums.pairs()}
    return record


def _model(sums: ComparisonSums, i: int) -> Json:
    record: Json = {"norm": sums.norm(i)}
    if sums.has_base:
        record |= {
            "delta_norm": sums.delta_norm(i),
            "change": sums.change(i),
            "cosine_with_base": sums.cosine(i, -1),
            "unchanged": sums.unchanged(i),
            "energy_of_top_10_percent": sums.top_share(i, 0),
            "energy_of_top_1_percent": sums.top_share(i, 1),
        }
    return record


def _pair(sums: ComparisonSums, i: int, j: int) -> Json:
    record: Json = {
        "distance": sums.distance(i, j),
        "relative": sums.relative(j, i),
        "cosine": sums.cosine(i, j),
        "equal": sums.equal_share(i, j),
    }
    if sums.has_base:
        record |= {
            "delta_cosine": sums.delta_cosine(i, j),
            "sign_conflict": sums.conflict(i, j),
            "sign_conflict_by_magnitude": sums.weighted_conflict(i, j),
        }
    return record

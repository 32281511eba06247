"""A comparison as plain data: every number that can be shown, for ``--json`` and for tests."""

from __future__ import annotations

from kingyo.compare.comparison_sums import CheckpointComparison, ComparisonSums
from kingyo.compare.method_advice import advise, letter

Json = dict[str, object]


def to_record(found: CheckpointComparison) -> Json:
    """All groups, layers, kinds and the total; models go by their letters. None is what is not defined."""
    return {
        "models": {letter(i): reference for i, reference in enumerate(found.models)},
        "base": found.base,
        "total": _sums(found.total),
        "kinds": {kind: _sums(each) for kind, each in found.kinds.items()},
        "layers": {layer: _sums(each) for layer, each in found.layers.items()},
        "groups": [
            {"layer": group.layer, "kind": group.kind, **_sums(group.measures)} for group in found.groups
        ],
        "notes": list(found.notes),
        "advice": list(advise(found)),
    }


def _sums(sums: ComparisonSums) -> Json:
    whole: Json = {"numbers": sums.numbers}
    if sums.has_base:
        whole["base_norm"] = sums.norm(-1)
    whole["models"] = {letter(i): _model(sums, i) for i in range(sums.n_models)}
    whole["pairs"] = {f"{letter(i)}-{letter(j)}": _pair(sums, i, j) for i, j in sums.pairs()}
    return whole


def _model(sums: ComparisonSums, i: int) -> Json:
    found: Json = {"norm": sums.norm(i)}
    if sums.has_base:
        found |= {
            "delta_norm": sums.delta_norm(i),
            "change": sums.change(i),
            "cosine_with_base": sums.cosine(i, -1),
            "unchanged": sums.unchanged(i),
            "energy_of_top_10_percent": sums.top_share(i, 0),
            "energy_of_top_1_percent": sums.top_share(i, 1),
        }
    return found


def _pair(sums: ComparisonSums, i: int, j: int) -> Json:
    found: Json = {
        "distance": sums.distance(i, j),
        "relative": sums.relative(j, i),
        "cosine": sums.cosine(i, j),
        "equal": sums.equal_share(i, j),
    }
    if sums.has_base:
        found |= {
            "delta_cosine": sums.delta_cosine(i, j),
            "sign_conflict": sums.conflict(i, j),
            "sign_conflict_by_magnitude": sums.weighted_conflict(i, j),
        }
    return found

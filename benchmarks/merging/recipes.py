"""The recipes that both tools merge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from merging.models import BASE, SOURCES

FILES = (
    "linear",
    "slerp",
    "task_arithmetic",
    "model_stock",
    "ties",
    "dare_ties",
    "della",
    "breadcrumbs",
    "sce",
)
MEMORY = ("linear", "task_arithmetic", "ties", "dare_ties", "dare_linear", "della")
NEEDS_NO_BASE = frozenset({"linear"})
_DENSITY = 0.4
_SHARED: Mapping[str, Mapping[str, float]] = {
    "slerp": {"t": 0.4},
    "model_stock": {},
    "sce": {"select_topk": 0.4},
    "linear": {"weight": 0.5},
    "task_arithmetic": {"weight": 0.5},
}


def recipe(method: str, folder: Path, n_sources: int = 3, weight: float = 0.5) -> dict[str, object]:
    """A recipe with typical values; ``weight`` is a candidate's own."""
    n = 1 if method == "slerp" else n_sources
    shared = dict(_SHARED.get(method, {"weight": weight, "density": _DENSITY - 0.2 * (weight - 0.5)}))
    if "weight" in shared:
        shared["weight"] = weight
    found: dict[str, object] = {
        "merge_method": method,
        "models": [{"model": str(folder / name)} for name in SOURCES[:n]],
        "dtype": "bfloat16",
    }
    if method not in NEEDS_NO_BASE:
        found["base_model"] = str(folder / BASE)
    return found | ({"parameters": shared} if shared else {})


def models_read(method: str, n_sources: int = 3) -> tuple[str, ...]:
    """The models that a merge reads."""
    used = SOURCES[: 1 if method == "slerp" else n_sources]
    return used if method in NEEDS_NO_BASE else (BASE, *used)

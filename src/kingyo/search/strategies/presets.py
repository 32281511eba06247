"""Presets: named strategies with settings and, if their source has one, a merge; presets.yaml has them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from pydantic import TypeAdapter

from kingyo.core.io.yaml import read_yaml
from kingyo.errors import unknown_name_error


@dataclass(frozen=True, kw_only=True)
class MergeSuggestion:
    """The merge that a preset was published with.

    ``groups`` are as in ``Layout.groups``, ``bounds`` low and high of each searched parameter. ``lora`` has
    low, high and start of the one weight of a source that is the base with a LoRA; None: like the others.
    """

    method: str = "task_arithmetic"
    groups: str = "one"
    bounds: Mapping[str, tuple[float, float]]
    lora: tuple[float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named strategy with settings.

    Attributes:
        source: origin of the numbers.
        screen: how candidates are scored; empty: on all items of fit.
        fewest_items: fewest items per candidate if the budget limits only item evaluations (see
            ``kingyo.runs.settings.items_per_candidate``); None: always as ``screen`` says.
        merge: the default merge; None: no default.
        needs_objectives: whether the preset requires several objectives.
        space: ``parameters``, ``dataflow`` or ``hybrid``; None: any.
        paths: settings of the data-flow space.
        path_preset: preset of the path search that follows, for ``hybrid``.
    """

    name: str
    doc: str
    source: str
    strategy: str
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    screen: Mapping[str, object] = field(default_factory=dict[str, object])
    fewest_items: int | None = None
    merge: MergeSuggestion | None = None
    needs_objectives: bool = False
    space: str | None = None
    paths: Mapping[str, object] = field(default_factory=dict[str, object])
    path_preset: str | None = None


DEFAULT_PRESETS: Mapping[str, str] = {"parameters": "fast", "dataflow": "paths", "hybrid": "fast"}
"""Space -> preset to use if none is named."""
FULL_SET = "full-set"
"""Default preset for every space if a measure over all answers decides."""

RECOMMENDED = ("fast", "quality", "pareto")
"""Presets for most runs (docs/search.md): a small budget, a large one, several objectives."""

_WRITTEN = cast("dict[str, dict[str, object]]", read_yaml(Path(__file__).with_suffix(".yaml")))
PRESETS: Mapping[str, Preset] = TypeAdapter(dict[str, Preset]).validate_python(
    {name: {"name": name, **keys} for name, keys in _WRITTEN.items()}
)


def preset(name: str) -> Preset:
    if name not in PRESETS:
        raise unknown_name_error("preset", name, PRESETS)
    return PRESETS[name]

"""Check that settings of a search agree with its preset, its tasks and its budget."""

from __future__ import annotations

from collections.abc import Mapping

from kingyo.errors import KingyoError
from kingyo.run.config import SPACE_OBJECTIVES, RunConfig, Space
from kingyo.run.config_sections import MergeConfig, SearchConfig
from kingyo.strategies import STRATEGIES, learns_from_items
from kingyo.strategies.presets import METRIC, Preset, preset


def require_preset(
    config: RunConfig, space: Space, chosen: Preset, search: SearchConfig, merge: MergeConfig
) -> None:
    """Refuse settings that contradict a named preset."""
    _require_space(space, chosen)
    methods = ", ".join(merge.methods) or None
    _require_agreement("merge.method", methods, chosen.merge and chosen.merge.method, chosen.name)
    _require_agreement("search.strategy", search.strategy, chosen.strategy, chosen.name)
    _require_objectives(config, space, chosen)


def require_two(name: str, total: int) -> None:
    """Refuse a budget that two searches cannot share."""
    if total < 2:
        raise KingyoError(
            f"budget.{name}",
            expected="at least 2 beside space: hybrid, for a weight search and a path search",
            received=str(total),
            remedy="Raise it, or write hybrid.joint: true, which is one search.",
        )


def _require_space(space: Space, chosen: Preset) -> None:
    if chosen.space is not None and space != chosen.space:
        raise KingyoError(
            "space",
            expected=f"{chosen.space}, which the preset {chosen.name} searches",
            received=space,
            remedy=f"Write space: {chosen.space}, or delete search.preset.",
        )


def require_full_sets(
    search: SearchConfig, preset_name: str | None, strategy: str, settings: Mapping[str, object]
) -> None:
    """Refuse strategies that read item scores, and screens, beside a set measure.

    ``preset_name``: the preset that gives the strategy, if the run.yaml names it.
    """
    if STRATEGIES.is_registered(strategy) and learns_from_items(strategy, settings):
        raise KingyoError(
            "search.strategy" if preset_name is None else "search.preset",
            expected="a strategy that needs one number of each candidate, beside a task with `measure`",
            received=f"{strategy}, which learns from scores of individual items"
            if preset_name is None
            else f"{preset_name}, whose strategy {strategy} learns from scores of individual items",
            remedy=f"Delete it to search with {preset(METRIC).strategy}, or name another, such as ga.",
        )
    screen = {key: value for key, value in search.screen.items() if value not in (None, "none")}
    if screen:
        raise KingyoError(
            "search.screen",
            expected="none beside a task with `measure`, for which each candidate answers all items of fit",
            received=", ".join(f"{key}: {value}" for key, value in screen.items()),
            remedy="Delete search.screen, or the `measure` of the task.",
        )


def _require_agreement(key: str, value: str | None, required: str | None, preset_name: str) -> None:
    """Refuse a value that contradicts the named preset."""
    if value is not None and required is not None and value != required:
        raise KingyoError(
            key,
            expected=f"'{required}', which belongs to the preset {preset_name}",
            received=f"'{value}'",
            remedy=f"Delete {key} (and its parameters or settings), or delete search.preset.",
        )


def _require_objectives(config: RunConfig, space: Space, chosen: Preset) -> None:
    """Refuse a preset for several objectives without them."""
    if chosen.needs_objectives and not config.objectives:
        raise KingyoError(
            "objectives",
            expected=f"two or more beside the preset {chosen.name}: "
            + ", ".join(("names of tasks", *SPACE_OBJECTIVES[space])),
            received="none",
            remedy="Name the objectives, or choose another preset.",
        )

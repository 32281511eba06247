"""Resolve run.yaml and presets to the settings of each search: strategy, methods, screen, budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kingyo.errors import KingyoError
from kingyo.io.schema import parse_settings
from kingyo.run.config import RunConfig, Space
from kingyo.run.config_sections import Budget, DataflowConfig, GenomeConfig, MergeConfig, Range, SearchConfig
from kingyo.run.settings_checks import require_full_sets, require_preset, require_two
from kingyo.screens import ScreenSettings
from kingyo.space import Bounds
from kingyo.strategies.presets import DEFAULT_PRESETS, METRIC, Preset, preset

TARGET_CANDIDATES = 100
"""Candidates that a budget in item evaluations should buy, if the preset can score them on fewer items."""
MAX_TASKS = 3
"""Number of tasks up to which a preset may reduce the items of a candidate."""


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """The settings of one search.

    Attributes:
        preset: source of the defaults.
        space: ``dataflow`` searches paths, the others weights.
        strategy, settings: the algorithm and its options.
        methods, groups, values: those of the merges.
        screen: number of items per candidate.
        budget: limits.
        warm_start: whether the strategy starts with the scores of the parents and the uniform merge.
        is_asynchronous: whether it asks again as soon as one candidate is scored.
        timeout: limit in seconds for an answer of a user's strategy.
    """

    preset: Preset
    space: Space
    strategy: str
    settings: Mapping[str, object]
    methods: tuple[str, ...]
    groups: str
    values: Mapping[str, float | bool | Bounds]
    screen: ScreenSettings
    budget: Budget
    warm_start: bool
    is_asynchronous: bool
    timeout: float


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The settings of all searches of a run.

    Attributes:
        first: the first or only search.
        then: the path search after it, if weights and paths are searched in turn.
        controls: the first search with the budget of the run.
        paths: the searched paths, or None.
    """

    first: SearchSettings
    then: SearchSettings | None = None
    controls: SearchSettings
    paths: DataflowConfig | None = None


def settings_of(config: RunConfig) -> RunSettings:
    """Resolve a run.yaml and its presets.

    Raises:
        KingyoError: an unknown preset, or one that contradicts the run.yaml.
    """
    controls = _search_settings(config, config.search, config.search.preset, config.budget)
    if config.space == "parameters":
        return RunSettings(first=controls, controls=controls)
    if config.space == "dataflow" or config.hybrid.joint:
        return RunSettings(first=controls, controls=controls, paths=_paths(config, controls.preset))
    first_budget, rest = (_budget_share(config, is_rest=is_rest) for is_rest in (False, True))
    preset_name = config.hybrid.search.preset or controls.preset.path_preset
    then = _search_settings(config, config.hybrid.search, preset_name, rest, is_next=True)
    return RunSettings(
        first=_search_settings(config, config.search, config.search.preset, first_budget),
        then=then,
        controls=controls,
        paths=_paths(config, then.preset),
    )


def _paths(config: RunConfig, defaults: Preset) -> DataflowConfig:
    keys = config.dataflow.model_dump(exclude_unset=True)
    return DataflowConfig.model_validate({**defaults.paths, **keys})


def _search_settings(
    config: RunConfig, search: SearchConfig, preset_name: str | None, budget: Budget, *, is_next: bool = False
) -> SearchSettings:
    """Resolve one search. ``is_next``: it searches paths after a weight search."""
    space: Space = "dataflow" if is_next else config.space
    has_set_measures = bool(deciding_measures(config))
    chosen = preset(preset_name or (METRIC if has_set_measures else DEFAULT_PRESETS[space]))
    merge = MergeConfig(dtype=config.merge.dtype) if is_next else config.merge
    if preset_name is not None:
        require_preset(config, space, chosen, search, merge)
    default = chosen.merge
    strategy = search.strategy or chosen.strategy
    is_of_preset = strategy == chosen.strategy
    settings = {**(chosen.settings if is_of_preset else {}), **search.settings}
    if has_set_measures:
        name = chosen.name if is_of_preset and preset_name else None
        require_full_sets(search, name, strategy, settings)
    screen: Mapping[str, object] = {}
    if is_of_preset:
        screen = _preset_screen(chosen, search, budget, len(config.specs))
    return SearchSettings(
        preset=chosen,
        space=space,
        strategy=strategy,
        settings=settings,
        methods=merge.methods or (default.method if default else "task_arithmetic",),
        groups=_groups_of(merge.genome) or merge.groups or (default.groups if default else "one"),
        values=_values(merge, chosen),
        screen=_screen(search, screen),
        budget=budget,
        warm_start=search.warm_start,
        is_asynchronous=search.mode == "asynchronous",
        timeout=search.timeout,
    )


def _values(merge: MergeConfig, chosen: Preset) -> dict[str, float | bool | Bounds]:
    """Return the values and bounds of parameters: those of the preset for its method, then the user's."""
    values: dict[str, float | bool | Bounds] = {}
    default = chosen.merge
    if default is not None and merge.methods in ((), (default.method,)):
        values |= {name: Bounds(low=low, high=high) for name, (low, high) in default.bounds.items()}
    return values | {name: _value(value) for name, value in merge.parameters.items()}


def _budget_share(config: RunConfig, *, is_rest: bool) -> Budget:
    """Return the first search's share of the budget, or the rest; both together are the budget."""
    shares = dict[str, float]()
    for name, total in config.budget.model_dump(exclude_none=True).items():
        first = config.hybrid.share * total
        if name != "minutes":
            require_two(name, total)
            first = min(max(1, round(first)), total - 1)
        shares[name] = total - first if is_rest else first
    return Budget.model_validate(shares)


def items_per_candidate(budget: int, fewest: int, most: int) -> int:
    """Return the items per candidate with which a budget in item evaluations buys about 100 candidates."""
    return min(most, max(fewest, budget // TARGET_CANDIDATES))


def _preset_screen(
    chosen: Preset, search: SearchConfig, budget: Budget, n_tasks: int
) -> Mapping[str, object]:
    """Return the preset's screen, with fewer items if a small budget sets only ``item_evaluations``.

    A rule that drops candidates, or many tasks, need the full number.
    """
    fewest, most = chosen.fewest_items, chosen.screen.get("items")
    has_rule = search.screen.get("rule", "none") != "none"
    if (
        budget.item_evaluations is None
        or budget.candidates is not None
        or budget.minutes is not None
        or has_rule
        or n_tasks > MAX_TASKS
        or fewest is None
        or not isinstance(most, int)
    ):
        return chosen.screen
    return {**chosen.screen, "items": items_per_candidate(budget.item_evaluations, fewest, most)}


def _screen(search: SearchConfig, defaults: Mapping[str, object]) -> ScreenSettings:
    screen = parse_settings(ScreenSettings, {**defaults, **search.screen}, "search.screen")
    if search.mode == "asynchronous" and screen.rule != "none":
        raise KingyoError(
            "search.screen.rule",
            expected="none beside search.mode: asynchronous, which has no generation to compare within",
            received=screen.rule,
            remedy="Write `rule: none`, or delete search.mode.",
        )
    return screen


def deciding_measures(config: RunConfig) -> dict[str, str]:
    """Return the set measure of each task that has one, by the name of the task in items."""
    is_one = len(config.specs) == 1
    return {
        "" if is_one else name: spec.measure
        for name, spec in config.specs.items()
        if spec.measure is not None
    }


def _groups_of(genome: GenomeConfig | None) -> str | None:
    """Return the name of the groups of a genome file in reports."""
    if genome is None:
        return None
    return f"{genome.layer_granularity} layers each" if genome.layer_granularity > 0 else "one"


def _value(value: Range | bool | float) -> float | bool | Bounds:
    if isinstance(value, Range):
        return Bounds(low=value.low, high=value.high, start=value.start)
    return value

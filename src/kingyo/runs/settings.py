"""Resolve run.yaml and presets to the settings of each search: strategy, methods, screen, budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kingyo.core.io.schema import parse_settings
from kingyo.core.types import HasGradients
from kingyo.errors import KingyoError
from kingyo.merging.methods import METHODS
from kingyo.merging.methods.contract import describes
from kingyo.models.kinds import ModelKind
from kingyo.runs.config import (
    SPACE_OBJECTIVES,
    Budget,
    DataflowConfig,
    MergeConfig,
    Range,
    RunConfig,
    SearchConfig,
    Space,
)
from kingyo.search.evolution.screens import ScreenSettings
from kingyo.search.space import Bounds, SourceValues
from kingyo.search.strategies import COMBINATORS, STRATEGIES, learns_from_items
from kingyo.search.strategies.presets import DEFAULT_PRESETS, FULL_SET, Preset, preset
from kingyo.store import Fact
from kingyo.tasks import TASK_KINDS, measure_name

TARGET_CANDIDATES = 100
"""Candidates that a budget in item evaluations should buy, if the preset can score them on fewer items."""
MAX_TASKS = 3
"""Number of tasks up to which a preset may reduce the items of a candidate."""


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """The settings of one search."""

    preset: Preset
    space: Space
    strategy: str
    settings: Mapping[str, object]
    methods: tuple[str, ...]
    groups: str
    values: Mapping[str, float | bool | Bounds]
    own: Mapping[str, SourceValues]
    screen: ScreenSettings
    budget: Budget
    warm_start: bool
    is_asynchronous: bool
    timeout: float


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The settings of all searches of a run."""

    first: SearchSettings
    then: SearchSettings | None = None
    controls: SearchSettings
    paths: DataflowConfig | None = None


def settings_of(config: RunConfig) -> RunSettings:
    controls = _search_settings(config, config.search, config.search.preset, config.budget)
    if config.space == "parameters":
        return RunSettings(first=controls, controls=controls)
    if config.space == "dataflow" or config.hybrid.joint:
        return RunSettings(first=controls, controls=controls, paths=_paths(config, controls.preset))
    first, rest = dict[str, float](), dict[str, float]()
    for name, total in config.budget.model_dump(exclude_none=True).items():
        share = config.hybrid.share * total
        if name != "minutes":
            if total < 2:
                expected = "at least 2 beside space: hybrid, for a weight search and a path search"
                remedy = "Raise it, or write hybrid.joint: true, which is one search."
                raise KingyoError(f"budget.{name}", expected, str(total), remedy)
            share = min(max(1, round(share)), total - 1)
        first[name], rest[name] = share, total - share
    preset_name = config.hybrid.search.preset or controls.preset.path_preset
    remaining = Budget.model_validate(rest)
    then = _search_settings(config, config.hybrid.search, preset_name, remaining, is_next=True)
    return RunSettings(
        first=_search_settings(config, config.search, config.search.preset, Budget.model_validate(first)),
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
    space: Space = "dataflow" if is_next else config.space
    needs_all_items = bool(deciding_measures(config) or config.answer_objectives)
    chosen = preset(preset_name or (FULL_SET if needs_all_items else DEFAULT_PRESETS[space]))
    merge = MergeConfig(dtype=config.merge.dtype) if is_next else config.merge
    if preset_name is not None:
        _require_preset(config, space, chosen, search, merge)
    default = chosen.merge
    strategy = search.strategy or chosen.strategy
    is_of_preset = strategy == chosen.strategy
    settings = {**(chosen.settings if is_of_preset else {}), **search.settings}
    if needs_all_items:
        _require_full_sets(search, strategy, settings)
    screen: Mapping[str, object] = {}
    if is_of_preset and not needs_all_items:
        screen = _preset_screen(chosen, budget, len(config.specs))
    values: dict[str, float | bool | Bounds] = {}
    if default is not None and merge.methods in ((), (default.method,)):
        values = {name: Bounds(low=low, high=high) for name, (low, high) in default.bounds.items()}
    return SearchSettings(
        preset=chosen,
        space=space,
        strategy=strategy,
        settings=settings,
        methods=merge.methods or (default.method if default else "task_arithmetic",),
        groups=merge.groups or (default.groups if default else "one"),
        values=values | {name: _value(value) for name, value in merge.parameters.items()},
        own=_values_of_sources(config, merge, chosen),
        screen=parse_settings(ScreenSettings, {**screen, **search.screen}, "search.screen"),
        budget=budget,
        warm_start=search.warm_start,
        is_asynchronous=search.mode == "asynchronous",
        timeout=search.timeout,
    )


def _values_of_sources(config: RunConfig, merge: MergeConfig, chosen: Preset) -> dict[str, SourceValues]:
    """Return what differs for single sources: what run.yaml says, else the preset's strength of LoRAs."""
    default = chosen.merge
    own: dict[str, SourceValues] = {}
    if default is not None and default.lora is not None and merge.methods in ((), (default.method,)):
        low, high, start = default.lora
        strength = SourceValues(groups="one", values={"weight": Bounds(low=low, high=high, start=start)})
        loras = [name for name, model in config.sources.items() if model.startswith(f"{config.base}+")]
        own = dict.fromkeys(loras, strength)
    for name, given in merge.sources.items():
        before = own.get(name, SourceValues())
        values = {**before.values, **{key: _value(value) for key, value in given.parameters.items()}}
        own[name] = SourceValues(groups=given.groups or before.groups, values=values)
    return own


def items_per_candidate(budget: int, fewest: int, most: int) -> int:
    """Return the items per candidate with which a budget in item evaluations buys about 100 candidates."""
    return min(most, max(fewest, budget // TARGET_CANDIDATES))


def _preset_screen(chosen: Preset, budget: Budget, n_tasks: int) -> Mapping[str, object]:
    """Return the preset's screen; with few tasks, fewer items if only a few item evaluations are allowed."""
    fewest, most = chosen.fewest_items, chosen.screen.get("items")
    limits = budget.model_dump(exclude_none=True).keys()
    is_open = limits == {"item_evaluations"} and n_tasks <= MAX_TASKS
    if not is_open or budget.item_evaluations is None or fewest is None or not isinstance(most, int):
        return chosen.screen
    return {**chosen.screen, "items": items_per_candidate(budget.item_evaluations, fewest, most)}


def deciding_measures(config: RunConfig) -> dict[str, str]:
    """Return the set measure of each task that has one, by the name of the task in items."""
    is_one = len(config.specs) == 1
    measures = {"" if is_one else name: measure_name(spec) for name, spec in config.specs.items()}
    return {name: measure for name, measure in measures.items() if measure is not None}


def _value(value: Range | bool | float) -> float | bool | Bounds:
    if isinstance(value, Range):
        start = tuple(value.start) if isinstance(value.start, list) else value.start
        return Bounds(low=value.low, high=value.high, start=start)
    return value


def _require_preset(
    config: RunConfig, space: Space, chosen: Preset, search: SearchConfig, merge: MergeConfig
) -> None:
    if chosen.space is not None and space != chosen.space:
        remedy = f"Write space: {chosen.space}, or delete search.preset."
        raise KingyoError("space", f"{chosen.space}, which the preset {chosen.name} searches", space, remedy)
    methods = ", ".join(merge.methods) or None
    _require_agreement("merge.method", methods, chosen.merge and chosen.merge.method, chosen.name)
    _require_agreement("search.strategy", search.strategy, chosen.strategy, chosen.name)
    if chosen.needs_objectives and not config.objectives:
        expected = f"two or more beside the preset {chosen.name}: " + ", ".join(
            ("names of tasks", *SPACE_OBJECTIVES[space])
        )
        raise KingyoError("objectives", expected, "none", "Name the objectives, or choose another preset.")


def _require_full_sets(search: SearchConfig, strategy: str, settings: Mapping[str, object]) -> None:
    """Refuse strategies that read item scores, and screens, beside a set measure."""
    if STRATEGIES.is_registered(strategy) and learns_from_items(strategy, settings):
        raise KingyoError(
            "search.strategy" if search.strategy else "search.preset",
            "one that needs one number per candidate, beside `measure` or objectives of answers",
            f"{strategy}, which learns from scores of individual items",
            f"Delete it to search with {preset(FULL_SET).strategy}, or name another, such as ga.",
        )
    screen = {key: value for key, value in search.screen.items() if value is not None}
    if screen:
        expected = "none beside `measure` or objectives of answers, which need all items of fit"
        received = ", ".join(f"{key}: {value}" for key, value in screen.items())
        remedy = "Delete search.screen, or the `measure` or objective."
        raise KingyoError("search.screen", expected, received, remedy)


def _require_agreement(key: str, value: str | None, required: str | None, preset_name: str) -> None:
    if value is not None and required is not None and value != required:
        expected = f"'{required}', which belongs to the preset {preset_name}"
        remedy = f"Delete {key} (and its parameters or settings), or delete search.preset."
        raise KingyoError(key, expected, f"'{value}'", remedy)


MEMETIC = "memetic"
LEARNS = Fact("learns", bool, False)
"""Fact: whether the main search learns weights by gradient."""
LEARNABLE = Fact("learnable", bool, False)
"""Fact: whether nothing but run.yaml's choice keeps a run from learning weights."""
GROUPS = "tensor"
"""Groups of tensors with weights of their own, where run.yaml names none."""


def with_learning(settings: RunSettings, config: RunConfig) -> RunSettings:
    """Return settings whose main search learns weights; its controls do not.

    Groups that run.yaml names are searched as without learning; otherwise there is one factor per source.
    """
    first, is_named = settings.first, config.merge.groups is not None
    if not is_named:
        first = replace(first, groups=GROUPS)
    if first.strategy != MEMETIC:
        if config.search.strategy is None:  # as the user sees them, not as settings of settings
            parse_settings(STRATEGIES.get(first.strategy).Settings, first.settings, "search.settings")
        own: dict[str, object] = {"strategy": first.strategy, "settings": first.settings}
        own |= {"tie": False} if is_named else {}
        first = replace(first, strategy=MEMETIC, settings=own)
    return replace(settings, first=first)


def learns(config: RunConfig, settings: RunSettings, kind: ModelKind, folder: Path) -> bool:
    """Return whether the main search of a run learns weights: if it can, and run.yaml does not forbid it."""
    if config.learn is False:
        if config.search.strategy == MEMETIC:
            expected = "a strategy that learns no weights"
            remedy = "Delete one of the two."
            raise KingyoError("learn: false", expected, f"search.strategy: {MEMETIC}", remedy)
        return False
    reasons = obstacles(config, settings, kind, folder)
    is_demanded = demands_learning(config)
    if reasons and is_demanded:
        expected = "a merge with gradients, of models with a loss, for tasks with answers to learn"
        remedy = "Delete `learn: true` (or the strategy), or change what stands in its way."
        raise KingyoError(
            "learn: true" if config.learn else f"search.strategy: {MEMETIC}", expected, reasons[0], remedy
        )
    return not reasons and (is_demanded or _is_default(config))


def demands_learning(config: RunConfig) -> bool:
    return config.learn is not False and (bool(config.learn) or config.search.strategy == MEMETIC)


def why_not_learned(config: RunConfig, settings: RunSettings, kind: ModelKind, folder: Path) -> str | None:
    """Return what keeps a run of merges from learning weights; None if nothing does, or run.yaml chose it."""
    if config.learn is not None or not _is_default(config) or config.space == "dataflow":
        return None
    return next(iter(obstacles(config, settings, kind, folder)), None)


def _is_default(config: RunConfig) -> bool:
    return config.search.strategy is None and config.search.preset is None


def obstacles(config: RunConfig, settings: RunSettings, kind: ModelKind, folder: Path) -> Sequence[str]:
    """Return what keeps a run from learning weights."""
    first, merge = settings.first, config.merge
    undescribed = [name for name in first.methods if not describes(METHODS.get(name, folder))]
    classes = {spec.kind_name: TASK_KINDS.get(spec.kind_name, folder) for spec in config.specs.values()}
    others = set(COMBINATORS) - {MEMETIC}
    found = {
        f"space: {config.space}": config.space != "parameters",
        "several methods": len(first.methods) > 1,
        "merge.choose_sources": merge.choose_sources is not False,
        f"the method {', '.join(undescribed)}, which has no derivative": bool(undescribed),
        f"the strategy {first.strategy}, which combines searches": first.strategy in others,
        "several objectives": bool(config.objectives),
        "a measure over all answers": bool(deciding_measures(config)),
        f"models of kind {kind.name}, which have no loss": HasGradients not in kind.provides,
        f"device: {config.device}": config.device != "cpu",
        **{
            f"a task of kind {name}, which names no answers to learn": not hasattr(each, "examples")
            for name, each in classes.items()
        },
    }
    return [reason for reason, holds in found.items() if holds]

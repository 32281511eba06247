"""What a run.yaml asks of a search, as data: strategy, methods, values, screen, and what is maximised.

Config and preset are laid over one another here. It opens no model, no data, and builds no space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.evolve import Aims
from kingyo.methods import METHODS, MergeMethod
from kingyo.recipe import Recipe
from kingyo.run.config import (
    BESIDE_TASKS,
    Budget,
    DataflowConfig,
    FirstSearchConfig,
    GenomeConfig,
    MergeConfig,
    Range,
    RunConfig,
)
from kingyo.screens import ScreenSettings, check_settings
from kingyo.space import Bounds, values_of
from kingyo.space.measures import (
    CLOSENESS,
    FEW_HOPS,
    FEW_SOURCES,
    closeness,
    few_hops,
    few_sources,
    has_closeness,
    require_closeness,
)
from kingyo.strategies.presets import DEFAULTS, Preset, preset
from kingyo.strict import parse_settings

TARGET_CANDIDATES = 100  # of a budget in item evaluations alone, if a preset can give them fewer items
MOST_TASKS = 3  # that share the few items of such a candidate


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """What config and preset together say of the search."""

    strategy: str
    settings: Mapping[str, object]
    methods: tuple[str, ...]
    groups: str
    values: Mapping[str, float | bool | Bounds]
    screen: ScreenSettings


def search_plan(config: RunConfig) -> SearchPlan:
    """Lay the user's own values over the preset's."""
    chosen = preset_of(config)
    merge = chosen.merge
    if config.search.preset is not None:
        _require_its_space(config, chosen)
        given = ", ".join(config.merge.methods) or None
        _require_its_own("merge.method", given, merge and merge.method, chosen.name)
        _require_its_own("search.strategy", config.search.strategy, chosen.strategy, chosen.name)
        _require_objectives(config, chosen)
    methods = config.merge.methods or (merge.method if merge else "task_arithmetic",)
    values: dict[str, float | bool | Bounds] = {}
    if merge is not None and methods == (merge.method,):
        values |= {name: Bounds(low=low, high=high) for name, (low, high) in merge.bounds.items()}
    values |= {name: _value(value) for name, value in config.merge.parameters.items()}
    strategy = config.search.strategy or chosen.strategy
    settings: dict[str, object] = dict(chosen.settings) if strategy == chosen.strategy else {}
    return SearchPlan(
        strategy=strategy,
        settings={**settings, **config.search.settings},
        methods=methods,
        groups=_groups_of(config.merge.genome) or config.merge.groups or (merge.groups if merge else "one"),
        values=values,
        screen=_screen(config, _screen_of(chosen, config) if strategy == chosen.strategy else {}),
    )


def preset_of(config: RunConfig) -> Preset:
    """The preset that a run.yaml names, or that of its space."""
    return preset(config.search.preset or DEFAULTS[config.space])


def dataflow_of(config: RunConfig) -> DataflowConfig:
    """Which paths are searched: the user's own values laid over the preset's."""
    own = config.dataflow.model_dump(exclude_unset=True)
    chosen = preset_of(of_paths(config) if is_in_turn(config) else config)
    return DataflowConfig.model_validate({**chosen.paths, **own})


def is_in_turn(config: RunConfig) -> bool:
    """Whether paths are searched when the search of weights has its winner."""
    return config.space == "hybrid" and not config.hybrid.joint


def of_paths(config: RunConfig) -> RunConfig:
    """What a run.yaml of both spaces, one after the other, asks of the second search."""
    search = config.hybrid.search
    named = search.preset or preset_of(config).then
    return config.model_copy(
        update={
            "space": "dataflow",
            "search": FirstSearchConfig.model_validate(
                {**search.model_dump(exclude_unset=True), "preset": named}
            ),
            "merge": MergeConfig(dtype=config.merge.dtype),
            "budget": _shared(config.budget, config.hybrid.share, is_rest=True),
        }
    )


def of_merges(config: RunConfig) -> RunConfig:
    """What such a run.yaml asks of the first search."""
    return config.model_copy(update={"budget": _shared(config.budget, config.hybrid.share)})


def _shared(budget: Budget, share: float, *, is_rest: bool = False) -> Budget:
    """The first search's share of a budget, or what it leaves: together never more than there is."""
    found = dict[str, float]()
    for name, whole in budget.model_dump(exclude_none=True).items():
        first = share * whole
        if name != "minutes":
            _require_two(name, whole)
            first = min(max(1, round(first)), whole - 1)
        found[name] = whole - first if is_rest else first
    return Budget.model_validate(found)


def _require_two(name: str, whole: int) -> None:
    if whole < 2:
        raise KingyoError(
            f"budget.{name}",
            expected="at least 2 beside space: hybrid, for a search of weights and one of paths",
            received=str(whole),
            remedy="Raise it, or say hybrid.joint: true, which is one search.",
        )


def _require_its_space(config: RunConfig, chosen: Preset) -> None:
    if chosen.space is not None and config.space != chosen.space:
        raise KingyoError(
            "space",
            expected=f"{chosen.space}, which the preset {chosen.name} searches",
            received=config.space,
            remedy=f"Say space: {chosen.space}, or delete search.preset.",
        )


def items_bought(budget: int, fewest: int, most: int) -> int:
    """Return how many items a candidate answers, so that a budget in item evaluations buys about 100."""
    return min(most, max(fewest, budget // TARGET_CANDIDATES))


def _screen_of(chosen: Preset, config: RunConfig) -> Mapping[str, object]:
    """Return the preset's screen: fewer items a candidate if a small budget sets only ``item_evaluations``.

    Not where a rule drops candidates, which takes several looks, nor where there are many tasks.
    """
    budget, fewest, most = config.budget, chosen.fewest_items, chosen.screen.get("items")
    has_rule = config.search.screen.get("rule", "none") != "none"
    if (
        budget.item_evaluations is None
        or budget.candidates is not None
        or budget.minutes is not None
        or has_rule
        or len(config.specs) > MOST_TASKS
        or fewest is None
        or not isinstance(most, int)
    ):
        return chosen.screen
    return {**chosen.screen, "items": items_bought(budget.item_evaluations, fewest, most)}


def _screen(config: RunConfig, preset_screen: Mapping[str, object]) -> ScreenSettings:
    found = parse_settings(ScreenSettings, {**preset_screen, **config.search.screen}, "search.screen")
    check_settings(found)
    if config.search.mode == "asynchronous" and found.rule != "none":
        raise KingyoError(
            "search.screen.rule",
            expected="none beside search.mode: asynchronous, which has no generation to compare within",
            received=found.rule,
            remedy="Say `rule: none`, or leave search.mode out.",
        )
    return found


def _groups_of(genome: GenomeConfig | None) -> str | None:
    """How reports call the groups of a genome file."""
    if genome is None:
        return None
    return f"{genome.layer_granularity} layers each" if genome.layer_granularity > 0 else "one"


def _require_its_own(key: str, given: str | None, own: str | None, preset_name: str) -> None:
    """A run that names a preset but searches or merges otherwise would go by a name that is not its own."""
    if given is not None and own is not None and given != own:
        raise KingyoError(
            key,
            expected=f"'{own}', which belongs to the preset {preset_name}",
            received=f"'{given}'",
            remedy=f"Delete {key} (and its parameters or settings), or delete search.preset.",
        )


def _require_objectives(config: RunConfig, chosen: Preset) -> None:
    """Without objectives such a search would run as something that is not meant by its name."""
    if chosen.needs_objectives and not config.objectives:
        raise KingyoError(
            "objectives",
            expected=f"two or more beside the preset {chosen.name}: "
            + ", ".join(("names of tasks", *BESIDE_TASKS[config.space])),
            received="none",
            remedy="Name the objectives, or choose another preset.",
        )


def aims_of(config: RunConfig, folder: Path, *, longest: int | None = None) -> Aims:
    """What a run.yaml wants to be maximised.

    Args:
        config: the run.yaml.
        folder: where its relative paths start.
        longest: how many layers a path may have, in a space of paths.

    Raises:
        KingyoError: an objective that its merges do not have, or fewer items per candidate than tasks.
    """
    specs, wanted = config.specs, search_plan(config)
    most = wanted.screen.items
    if most is not None and most < len(specs):
        raise KingyoError(
            "search.screen.items",
            expected=f"at least {len(specs)}, one for each task",
            received=str(most),
            remedy="Raise it, or leave tasks out.",
        )
    tasks = {name: spec.weight for name, spec in specs.items()} if len(specs) > 1 else {"": 1.0}
    measures: dict[str, Callable[[Recipe], float]] = {}
    if CLOSENESS in config.objectives:
        _require_closeness(config, folder, wanted)
        measures[CLOSENESS] = closeness
    if FEW_SOURCES in config.objectives:
        measures[FEW_SOURCES] = partial(few_sources, n_sources=_require_choice(config))
    if FEW_HOPS in config.objectives:
        assert longest is not None, "the config refuses it in other spaces"
        measures[FEW_HOPS] = partial(few_hops, longest=longest)
    return Aims(tasks=tasks, names=config.objectives, measures=measures)


def simplicity_of(config: RunConfig, folder: Path, wanted: SearchPlan) -> Callable[[Recipe], float] | None:
    """By what the simpler of two equal merges is told; None where nothing of the recipe tells it."""
    if config.merge.genome is not None or config.space == "dataflow" or config.hybrid.joint:
        return None
    return closeness if all(has_closeness(*pair) for pair in methods_of(wanted, folder)) else None


def _require_closeness(config: RunConfig, folder: Path, wanted: SearchPlan) -> None:
    if config.merge.genome is not None:
        raise KingyoError(
            f"objectives: {CLOSENESS}",
            expected="a space of whole models",
            received="merge.genome",
            remedy=f"Leave {CLOSENESS} out: recipes of genome files are made of slices.",
        )
    for method, values in methods_of(wanted, folder):
        require_closeness(method, values)


def methods_of(
    wanted: SearchPlan, folder: Path
) -> list[tuple[MergeMethod, Mapping[str, float | bool | Bounds]]]:
    """The methods that are searched, each with those of the values that it has parameters for."""
    found = [METHODS.get(name, folder) for name in wanted.methods]
    return list(zip(found, values_of(found, wanted.values), strict=True))


def _require_choice(config: RunConfig) -> int:
    """How many sources there are, beside the base, where they may be left out."""
    if config.merge.choose_sources is False:
        raise KingyoError(
            f"objectives: {FEW_SOURCES}",
            expected="merge.choose_sources, so that merges differ in size",
            received="all sources in every merge",
            remedy=f"Set merge.choose_sources: true, or leave {FEW_SOURCES} out.",
        )
    return sum(reference != config.base for reference in config.sources.values())


def _value(value: Range | bool | float) -> float | bool | Bounds:
    if isinstance(value, Range):
        return Bounds(low=value.low, high=value.high, start=value.start)
    return value

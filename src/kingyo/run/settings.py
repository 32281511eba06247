"""What a run.yaml asks of its searches, as data: strategy, methods, values, screen, budget, objectives.

Run.yaml and presets are laid over one another here, once. It opens no model, no data, and builds no space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.evolution import Objectives
from kingyo.io.schema import parse_settings
from kingyo.methods import METHODS, MergeMethod
from kingyo.recipe import Recipe
from kingyo.run.config import (
    BESIDE_TASKS,
    Budget,
    DataflowConfig,
    GenomeConfig,
    MergeConfig,
    Range,
    RunConfig,
    SearchConfig,
    Space,
)
from kingyo.screens import ScreenSettings, check_settings
from kingyo.space import Bounds, assign_values
from kingyo.space.recipe_objectives import (
    CLOSENESS,
    FEW_HOPS,
    FEW_SOURCES,
    closeness,
    few_hops,
    few_sources,
    has_closeness,
    require_closeness,
)
from kingyo.strategies import STRATEGIES, learns_from_items
from kingyo.strategies.presets import DEFAULT_PRESETS, METRIC, Preset, preset

TARGET_CANDIDATES = 100  # of a budget in item evaluations alone, if a preset can give them fewer items
MOST_TASKS = 3  # that share the few items of such a candidate


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """What a run.yaml and a preset together ask of one search.

    Attributes:
        preset: that fills in what the run.yaml leaves open.
        space: what is searched: ``dataflow`` is a space of paths, the others merge weights.
        strategy, settings: the algorithm and its options.
        methods, groups, values: of the merges.
        screen: how many items a candidate is scored on.
        budget: what the search may spend.
        warm_start: whether it begins with what parents and uniform merge scored.
        is_asynchronous: whether it asks again as soon as one candidate is done.
        timeout: seconds that a strategy of the user's own may take to answer.
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
    """What a run.yaml and its presets ask for.

    Attributes:
        first: the first search, or the only one.
        then: the search of paths that follows its winner, where weights and paths are searched in turn.
        controls: what searches of equal cost are like: the first search, with the budget of all.
        paths: which paths are searched; None where there are none.
    """

    first: SearchSettings
    then: SearchSettings | None = None
    controls: SearchSettings
    paths: DataflowConfig | None = None


def settings_of(config: RunConfig) -> RunSettings:
    """Lay a run.yaml over its presets.

    Raises:
        KingyoError: an unknown preset, or one that does not fit what the run.yaml says.
    """
    controls = _search_settings(config, config.search, config.search.preset, config.budget)
    if config.space == "parameters":
        return RunSettings(first=controls, controls=controls)
    if config.space == "dataflow" or config.hybrid.joint:
        return RunSettings(first=controls, controls=controls, paths=_paths(config, controls.preset))
    own, rest = (_shared(config, is_rest=is_rest) for is_rest in (False, True))
    named = config.hybrid.search.preset or controls.preset.then
    then = _search_settings(config, config.hybrid.search, named, rest, is_next=True)
    return RunSettings(
        first=_search_settings(config, config.search, config.search.preset, own),
        then=then,
        controls=controls,
        paths=_paths(config, then.preset),
    )


def _paths(config: RunConfig, chosen: Preset) -> DataflowConfig:
    own = config.dataflow.model_dump(exclude_unset=True)
    return DataflowConfig.model_validate({**chosen.paths, **own})


def _search_settings(
    config: RunConfig, search: SearchConfig, named: str | None, budget: Budget, *, is_next: bool = False
) -> SearchSettings:
    """Lay the user's own values over those of a preset.

    ``is_next``: it is the search of paths that follows one of weights, whose merges are made by then.
    """
    space: Space = "dataflow" if is_next else config.space
    by_set = sets_of(config)
    chosen = preset(named or (METRIC if by_set else DEFAULT_PRESETS[space]))
    merge = MergeConfig(dtype=config.merge.dtype) if is_next else config.merge
    if named is not None:
        _require_its_space(space, chosen)
        given = ", ".join(merge.methods) or None
        _require_its_own("merge.method", given, chosen.merge and chosen.merge.method, chosen.name)
        _require_its_own("search.strategy", search.strategy, chosen.strategy, chosen.name)
        _require_objectives(config, space, chosen)
    suggested = chosen.merge
    methods = merge.methods or (suggested.method if suggested else "task_arithmetic",)
    values: dict[str, float | bool | Bounds] = {}
    if suggested is not None and methods == (suggested.method,):
        values |= {name: Bounds(low=low, high=high) for name, (low, high) in suggested.bounds.items()}
    values |= {name: _value(value) for name, value in merge.parameters.items()}
    strategy = search.strategy or chosen.strategy
    is_preset = strategy == chosen.strategy
    groups = _groups_of(merge.genome) or merge.groups or (suggested.groups if suggested else "one")
    screen: Mapping[str, object] = {}
    if is_preset:
        screen = _preset_screen(chosen, search, budget, len(config.specs))
    settings = {**(chosen.settings if is_preset else {}), **search.settings}
    if by_set:
        _require_whole_sets(search, chosen.name if is_preset and named else None, strategy, settings)
    return SearchSettings(
        preset=chosen,
        space=space,
        strategy=strategy,
        settings=settings,
        methods=methods,
        groups=groups,
        values=values,
        screen=_screen(search, screen),
        budget=budget,
        warm_start=search.warm_start,
        is_asynchronous=search.mode == "asynchronous",
        timeout=search.timeout,
    )


def _shared(config: RunConfig, *, is_rest: bool) -> Budget:
    """The first search's share of a budget, or what it leaves: together never more than there is."""
    parts = dict[str, float]()
    for name, whole in config.budget.model_dump(exclude_none=True).items():
        first = config.hybrid.share * whole
        if name != "minutes":
            _require_two(name, whole)
            first = min(max(1, round(first)), whole - 1)
        parts[name] = whole - first if is_rest else first
    return Budget.model_validate(parts)


def _require_two(name: str, whole: int) -> None:
    if whole < 2:
        raise KingyoError(
            f"budget.{name}",
            expected="at least 2 beside space: hybrid, for a search of weights and one of paths",
            received=str(whole),
            remedy="Raise it, or say hybrid.joint: true, which is one search.",
        )


def _require_its_space(space: Space, chosen: Preset) -> None:
    if chosen.space is not None and space != chosen.space:
        raise KingyoError(
            "space",
            expected=f"{chosen.space}, which the preset {chosen.name} searches",
            received=space,
            remedy=f"Say space: {chosen.space}, or delete search.preset.",
        )


def items_bought(budget: int, fewest: int, most: int) -> int:
    """Return how many items a candidate answers, so that a budget in item evaluations buys about 100."""
    return min(most, max(fewest, budget // TARGET_CANDIDATES))


def _preset_screen(
    chosen: Preset, search: SearchConfig, budget: Budget, n_tasks: int
) -> Mapping[str, object]:
    """Return the preset's screen: fewer items a candidate if a small budget sets only ``item_evaluations``.

    Not where a rule drops candidates, which takes several looks, nor where there are many tasks.
    """
    fewest, most = chosen.fewest_items, chosen.screen.get("items")
    has_rule = search.screen.get("rule", "none") != "none"
    if (
        budget.item_evaluations is None
        or budget.candidates is not None
        or budget.minutes is not None
        or has_rule
        or n_tasks > MOST_TASKS
        or fewest is None
        or not isinstance(most, int)
    ):
        return chosen.screen
    return {**chosen.screen, "items": items_bought(budget.item_evaluations, fewest, most)}


def _screen(search: SearchConfig, of_preset: Mapping[str, object]) -> ScreenSettings:
    found = parse_settings(ScreenSettings, {**of_preset, **search.screen}, "search.screen")
    check_settings(found)
    if search.mode == "asynchronous" and found.rule != "none":
        raise KingyoError(
            "search.screen.rule",
            expected="none beside search.mode: asynchronous, which has no generation to compare within",
            received=found.rule,
            remedy="Say `rule: none`, or leave search.mode out.",
        )
    return found


def sets_of(config: RunConfig) -> dict[str, str]:
    """Return the measures of all answers that count, by what the items of a task call it."""
    is_one = len(config.specs) == 1
    return {
        "" if is_one else name: spec.measure
        for name, spec in config.specs.items()
        if spec.measure is not None
    }


def _require_whole_sets(
    search: SearchConfig, named: str | None, strategy: str, settings: Mapping[str, object]
) -> None:
    """A measure of all answers says nothing of single items, and little of a part of them.

    ``named``: the preset that brings the strategy, if the run.yaml names it.
    """
    if STRATEGIES.is_registered(strategy) and learns_from_items(strategy, settings):
        raise KingyoError(
            "search.strategy" if named is None else "search.preset",
            expected="a strategy that needs one number of each candidate, beside a task with `measure`",
            received=f"{strategy}, which learns from scores of single items"
            if named is None
            else f"{named}, whose strategy {strategy} learns from scores of single items",
            remedy=f"Leave it out ({preset(METRIC).strategy} then searches), or name another, such as ga.",
        )
    given = {key: value for key, value in search.screen.items() if value not in (None, "none")}
    if given:
        raise KingyoError(
            "search.screen",
            expected="none beside a task with `measure`, for which each candidate answers all items of fit",
            received=", ".join(f"{key}: {value}" for key, value in given.items()),
            remedy="Leave search.screen out, or the `measure` of the task.",
        )


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


def _require_objectives(config: RunConfig, space: Space, chosen: Preset) -> None:
    """Without objectives such a search would run as something that is not meant by its name."""
    if chosen.needs_objectives and not config.objectives:
        raise KingyoError(
            "objectives",
            expected=f"two or more beside the preset {chosen.name}: "
            + ", ".join(("names of tasks", *BESIDE_TASKS[space])),
            received="none",
            remedy="Name the objectives, or choose another preset.",
        )


def objectives_of(
    config: RunConfig, folder: Path, wanted: SearchSettings, *, longest: int | None = None
) -> Objectives:
    """What a run.yaml wants to be maximised.

    Args:
        config: the run.yaml.
        folder: where its relative paths start.
        wanted: of the search.
        longest: how many layers a path may have, in a space of paths.

    Raises:
        KingyoError: an objective that its merges do not have, or fewer items per candidate than tasks.
    """
    specs, most = config.specs, wanted.screen.items
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
    return Objectives(tasks=tasks, names=config.objectives, measures=measures, by_set=sets_of(config))


def simplicity_of(
    config: RunConfig, folder: Path, wanted: SearchSettings
) -> Callable[[Recipe], float] | None:
    """Return the key by which the simpler of two equal merges is told, or None where there is none."""
    if config.merge.genome is not None or wanted.space == "dataflow" or config.hybrid.joint:
        return None
    return closeness if all(has_closeness(*pair) for pair in methods_of(wanted, folder)) else None


def _require_closeness(config: RunConfig, folder: Path, wanted: SearchSettings) -> None:
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
    wanted: SearchSettings, folder: Path
) -> list[tuple[MergeMethod, Mapping[str, float | bool | Bounds]]]:
    """The methods that are searched, each with those of the values that it has parameters for."""
    found = [METHODS.get(name, folder) for name in wanted.methods]
    return list(zip(found, assign_values(found, wanted.values), strict=True))


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

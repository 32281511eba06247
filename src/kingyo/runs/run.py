"""The opened run. Commands that work on a run start here."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Self

from kingyo.core.io.yaml import read_yaml
from kingyo.core.types import Axis, Task
from kingyo.merging.engine import Plan, Sources, plan
from kingyo.merging.kernels.statistics_cache import TensorStats
from kingyo.merging.methods import METHODS
from kingyo.merging.recipe import Recipe
from kingyo.models.kinds import MODEL_KINDS
from kingyo.registry import whole_reference
from kingyo.runs.adapters import open_trained
from kingyo.runs.config import WEIGHT_SEARCH, RunConfig
from kingyo.runs.config_file import load_config, specs_in
from kingyo.runs.extensions import with_asked_controls
from kingyo.runs.provenance import require_same
from kingyo.runs.searches import baseline_recipes, searches, searches_after
from kingyo.runs.settings import LEARNS, learns, settings_of, with_learning
from kingyo.runs.setup import Setup, open_models, require_same_models, stored_config, use_threads
from kingyo.runs.spaces import first_merge
from kingyo.runs.tune import tuned_searches
from kingyo.search.evolution import MAIN, Search, Stage, fixed
from kingyo.search.space import probes
from kingyo.store import RunStore
from kingyo.tasks import build_tasks, load_splits


class Run(Setup):
    """An opened run. Its parts are built once, on first use."""

    @classmethod
    def open(cls, config: RunConfig, folder: Path, *, fetch: bool = True) -> Self:
        """Open the models of a run.yaml and resolve its settings."""
        settings = settings_of(config)
        for name in settings.controls.methods:  # fail on typing errors before models are opened
            METHODS.get(name, folder)
        if config.kind is not None:
            MODEL_KINDS.get(config.kind, folder)
        models = open_models(config, folder, fetch=fetch)
        run = cls(config=config, folder=folder, settings=settings, models=models)
        return run.with_config(config)

    def with_config(self, config: RunConfig) -> Self:
        """Return the run of the same models with the settings of a run.yaml."""
        settings = settings_of(config)
        if has_learned := learns(config, settings, self.kind, self.folder):
            settings = with_learning(settings, config)
        run = replace(self, config=config, settings=settings, learns=has_learned)
        same = ("kind", "data") if config.specs == self.config.specs else ("kind",)
        vars(run).update({name: vars(self)[name] for name in same if name in vars(self)})
        return run

    @classmethod
    def stored(cls, store: RunStore) -> Self:
        """Open a stored run, with the controls that were requested later."""
        config, folder = stored_config(store)
        config = with_asked_controls(config, store)
        models = open_models(config, folder)
        require_same_models(store, models)
        settings, has_learned = settings_of(config), store.fact(LEARNS)
        return cls(
            config=config,
            folder=folder,
            settings=with_learning(settings, config) if has_learned else settings,
            learns=has_learned,
            models=models,
            store=store,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.store is not None:
            self.store.__exit__(kind, error, trace)

    @cached_property
    def baselines(self) -> Mapping[str, Recipe]:
        return baseline_recipes(self)

    @cached_property
    def searches(self) -> tuple[Search, ...]:
        return tuple(searches(self))

    @property
    def stages(self) -> list[Stage]:
        """Weights, then paths through the bred merge, then tuning, as far as the run has them."""
        stages: list[Stage] = [fixed(*self.searches)]
        if self.settings.then is not None:
            stages.append(lambda winners: searches_after(winners[WEIGHT_SEARCH], self))
        if self.config.tune is not None:
            stages.append(lambda winners: tuned_searches(self, winners[MAIN], self.open_sources))
        return stages

    @cached_property
    def all_searches(self) -> tuple[Search, ...]:
        """All searches in order; those that need a winner assume that the start of the first search wins."""
        if len(self.stages) == 1:
            return self.searches
        winners: dict[str, Recipe] = dict.fromkeys((WEIGHT_SEARCH, MAIN), first_merge(self))
        return tuple(search for stage in self.stages for search in stage(winners))

    @property
    def axes(self) -> tuple[Axis, ...]:
        return tuple(self.searches[0].space.axes)

    @cached_property
    def first(self) -> Recipe:
        """Recipe at the start of every axis."""
        space = self.searches[0].space
        return space.decode(next(probes(space.axes)))

    @cached_property
    def plan(self) -> Plan:
        return plan(self.first, self.open_sources())

    def open_sources(self, facts: TensorStats | None = None) -> Sources:
        """Return the models that recipes of the run may name, including trained ones."""
        find = None if self.store is None else partial(open_trained, self.store.folder, self.folder)
        return Sources(self.models.by_reference, self.folder, facts, find)


def open_task(path: Path) -> Task:
    """Open the tasks of a task file, a run.yaml, a file with only ``tasks:``, or a run folder, joined.

    A run folder sets torch to the threads of the run.
    """
    if path.is_dir():
        with RunStore.read(path) as store:
            use_threads(store)
            config, folder = stored_config(store)
            require_same(store, only_code=True)
            return build_tasks(config.specs, store.items(), folder)
    specs = specs_in(path)
    return build_tasks(specs, load_splits(specs, path.parent).splits, path.parent)


def kind_in(path: Path) -> str | None:
    """Return the kind of model that a run.yaml or a run folder names, or None; a path is absolute."""
    if path.is_dir():
        with RunStore.read(path) as store:
            config, folder = stored_config(store)
    elif "sources" in read_yaml(path):
        config, folder = load_config(path), path.parent
    else:
        return None
    return None if config.kind is None else whole_reference(config.kind, folder)

"""The opened run. Commands that work on a run start here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from kingyo.engine import Plan, Sources, plan
from kingyo.evolution import MAIN, Search, Stage, fixed
from kingyo.kernels.statistics_cache import TensorStats
from kingyo.methods import METHODS
from kingyo.models.kinds import MODEL_KINDS
from kingyo.recipe import Recipe
from kingyo.run.adapters import open_trained
from kingyo.run.config import WEIGHT_SEARCH, RunConfig
from kingyo.run.extensions import with_asked_controls
from kingyo.run.layer_paths import read_known_paths
from kingyo.run.learnable import LEARNS, learns, with_learning
from kingyo.run.searches import baseline_recipes, searches, searches_after
from kingyo.run.settings import settings_of
from kingyo.run.setup import KnownPaths, Setup, open_models, require_same_models, stored_config
from kingyo.run.spaces import first_merge
from kingyo.run.tune import tuned_searches
from kingyo.space import probes
from kingyo.store import RunStore
from kingyo.tasks import LoadedSplits, build_tasks, load_splits
from kingyo.types import Axis, Item, Split, Task

_WITHOUT_STORE = ("kind", "data", "baselines", "searches", "all_searches", "first", "plan")


@dataclass(frozen=True, kw_only=True)
class Run(Setup):
    """An opened run. Its parts are built once, on first use.

    ``learns``: whether its main search learns weights by gradient.
    """

    store: RunStore | None = None
    learns: bool = False

    @classmethod
    def open(cls, config: RunConfig, folder: Path, *, fetch: bool = True) -> Self:
        """Open the models of a run.yaml and resolve its settings."""
        settings = settings_of(config)
        for name in settings.controls.methods:  # fail on typing errors before models are opened
            METHODS.get(name, folder)
        if config.kind is not None:
            MODEL_KINDS.get(config.kind, folder)
        models = open_models(config, folder, fetch=fetch)
        known = read_known_paths(config, folder, models)
        return cls(
            config=config, folder=folder, settings=settings, models=models, known_paths=known
        ).with_config(config)

    def with_config(self, config: RunConfig) -> Self:
        """Return the run of the same models with the settings of a run.yaml."""
        settings = settings_of(config)
        has_learned = learns(config, settings, self.kind, self.folder)
        if has_learned:
            settings = with_learning(settings, config)
        return self._changed(("kind",), config=config, settings=settings, learns=has_learned)

    @classmethod
    def stored(cls, store: RunStore) -> Self:
        """Open a stored run, with the controls that were requested later."""
        config, folder = stored_config(store)
        config = with_asked_controls(config, store)
        models = open_models(config, folder)
        require_same_models(store, models)
        settings, has_learned = settings_of(config), bool(store.fact(LEARNS))
        return cls(
            config=config,
            folder=folder,
            settings=with_learning(settings, config) if has_learned else settings,
            learns=has_learned,
            models=models,
            known_paths=cast(KnownPaths, store.fact("known_paths") or {}),
            store=store,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.store is not None:
            self.store.__exit__(kind, error, trace)

    def begun_in(self, store: RunStore) -> Self:
        """Return the run with its store; parts that do not depend on the store are kept."""
        return self._changed(_WITHOUT_STORE, store=store)

    def _changed(self, kept: Sequence[str], **changes: Any) -> Self:
        """Return the run with other attributes; parts that do not depend on them are kept."""
        changed, parts = replace(self, **changes), vars(self)
        vars(changed).update({name: parts[name] for name in kept if name in parts})
        return changed

    @property
    def begun(self) -> RunStore:
        """Store of a run that has begun."""
        assert self.store is not None, "the run has not begun"
        return self.store

    @cached_property
    def data(self) -> LoadedSplits:
        """Items from the data files, split, with notes on them."""
        return load_splits(self.config.specs, self.folder)

    @cached_property
    def items(self) -> Mapping[Split, tuple[Item, ...]]:
        """Items of each split."""
        return self.data.splits if self.store is None else self.store.items()

    @cached_property
    def task(self) -> Task:
        """The task; several are joined."""
        return build_tasks(self.config.specs, self.items, self.folder)

    @cached_property
    def baselines(self) -> Mapping[str, Recipe]:
        """Recipes of the baselines."""
        return baseline_recipes(self)

    @cached_property
    def searches(self) -> tuple[Search, ...]:
        """Searches that the run begins with."""
        return tuple(searches(self))

    @property
    def stages(self) -> list[Stage]:
        """Weights, then paths through the bred merge, then tuning, as far as the run has them."""
        stages: list[Stage] = [fixed(*self.searches)]
        if self.settings.then is not None:
            stages.append(lambda winners: searches_after(winners[WEIGHT_SEARCH], self))
        if self.config.tune is not None:
            stages.append(lambda winners: tuned_searches(self, winners[MAIN], self.items, self.open_sources))
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
        """Genes of the first search."""
        return tuple(self.searches[0].space.axes)

    @cached_property
    def first(self) -> Recipe:
        """Recipe at the start of every axis."""
        space = self.searches[0].space
        return space.decode(next(probes(space.axes)))

    @cached_property
    def plan(self) -> Plan:
        """Plan of ``first``."""
        return plan(self.first, self.open_sources())

    def open_sources(self, facts: TensorStats | None = None) -> Sources:
        """Return the models that recipes of the run may name, including trained ones."""
        find = None if self.store is None else partial(open_trained, self.store.folder, self.folder)
        return Sources(self.models.by_reference, self.folder, facts, find)

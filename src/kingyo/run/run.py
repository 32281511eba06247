"""The opened run: what a run.yaml names and asks for, as objects. Commands that work on a run start here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Self, cast

from kingyo.engine import Plan, Sources, plan
from kingyo.evolution import Search
from kingyo.kernels.statistics_cache import TensorStats
from kingyo.methods import METHODS
from kingyo.models.kinds import MODEL_KINDS
from kingyo.recipe import Recipe
from kingyo.run.config import RunConfig
from kingyo.run.extensions import with_asked_controls
from kingyo.run.layer_paths import read_known_paths
from kingyo.run.run_models import open_models
from kingyo.run.searches import baseline_recipes, searches, searches_after
from kingyo.run.settings import settings_of
from kingyo.run.setup import KnownPaths, Setup
from kingyo.run.spaces import first_merge
from kingyo.run.stored_config import require_same_models, stored_config
from kingyo.run.trained_control import open_trained
from kingyo.space import probes
from kingyo.store import RunStore
from kingyo.tasks import LoadedSplits, build_tasks, load_splits
from kingyo.types import Axis, Item, Split, Task

_WITHOUT_STORE = ("kind", "data", "baselines", "searches", "foreseen", "first", "plan")


@dataclass(frozen=True, kw_only=True)
class Run(Setup):
    """A run, opened. What it consists of is made when it is first asked for, and once.

    Attributes:
        store: of a run that has begun; None before.
    """

    store: RunStore | None = None

    @classmethod
    def open(cls, config: RunConfig, folder: Path, *, fetch: bool = True) -> Self:
        """Open what a run.yaml names.

        Args:
            config: the run.yaml.
            folder: where its relative paths start.
            fetch: whether weights are fetched from the Hub; else only what says what they are.

        Raises:
            KingyoError: settings that do not fit together, or a model that cannot be opened.
        """
        settings = settings_of(config)
        for name in settings.controls.methods:  # a typing error is answered before models are opened
            METHODS.get(name, folder)
        if config.kind is not None:
            MODEL_KINDS.get(config.kind, folder)
        models = open_models(config, folder, fetch=fetch)
        known = read_known_paths(config, folder, models)
        return cls(config=config, folder=folder, settings=settings, models=models, known_paths=known)

    @classmethod
    def stored(cls, store: RunStore) -> Self:
        """Open the run of a folder from what it stores of itself, with controls that were asked for later.

        Raises:
            KingyoError: a model cannot be opened, or is no longer what it was when the run began.
        """
        config, folder = stored_config(store)
        config = with_asked_controls(config, store)
        models = open_models(config, folder)
        require_same_models(store, models)
        known = store.fact("known_paths")
        if known is None:  # an older kingyo did not store them
            known = read_known_paths(config, folder, models)
        return cls(
            config=config,
            folder=folder,
            settings=settings_of(config),
            models=models,
            known_paths=cast(KnownPaths, known),
            is_exact=store.fact("gene_steps") is None,
            store=store,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.store is not None:
            self.store.close()

    def begun_in(self, store: RunStore) -> Self:
        """Return the run with its store; what was made of config and models alone is not made again."""
        begun, made = replace(self, store=store), vars(self)
        vars(begun).update({name: made[name] for name in _WITHOUT_STORE if name in made})
        return begun

    @property
    def begun(self) -> RunStore:
        """The store of a run that has begun."""
        assert self.store is not None, "the run has not begun"
        return self.store

    @cached_property
    def data(self) -> LoadedSplits:
        """The items as their files have them, split, and what was noticed of them."""
        return load_splits(self.config.specs, self.folder)

    @cached_property
    def items(self) -> Mapping[Split, tuple[Item, ...]]:
        """The items of each split: those that the run began with."""
        return self.data.splits if self.store is None else self.store.items()

    @cached_property
    def task(self) -> Task:
        """The task, or several as one."""
        return build_tasks(self.config.specs, self.items, self.folder)

    @cached_property
    def baselines(self) -> Mapping[str, Recipe]:
        """Recipes of the models to compare with."""
        return baseline_recipes(self)

    @cached_property
    def searches(self) -> tuple[Search, ...]:
        """Those that the run begins with."""
        return tuple(searches(self))

    def searches_after(self, merge: Recipe) -> list[Search]:
        """Return the searches that follow one of weights with this winner."""
        return searches_after(merge, self)

    @cached_property
    def foreseen(self) -> tuple[Search, ...]:
        """All searches, in their order: after one of weights, as if the merge at its start had won."""
        if self.settings.then is None:
            return self.searches
        return (*self.searches, *self.searches_after(first_merge(self)))

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The genes of the first search."""
        return tuple(self.searches[0].space.axes)

    @cached_property
    def first(self) -> Recipe:
        """The recipe at the start of every axis."""
        space = self.searches[0].space
        return space.decode(next(probes(space.axes)))

    @cached_property
    def plan(self) -> Plan:
        """The plan of ``first``."""
        return plan(self.first, self.open_sources())

    def open_sources(self, facts: TensorStats | None = None) -> Sources:
        """Return the models that recipes of the run may name, those that it trains among them.

        Args:
            facts: where measures of tensors are kept.
        """
        find = None if self.store is None else partial(open_trained, self.store.folder, self.folder)
        return Sources(self.models.by_reference, self.folder, facts, find)

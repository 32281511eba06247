"""Ask-and-tell search strategies on numeric axes, one kind of algorithm per file.

A strategy is a class with a nested dataclass ``Settings``; it is built from axes, a seed and settings (see
``kingyo.core.types.Strategy``). It reads no models, tasks or files. Plug-ins register in the entry-point
group ``kingyo.strategies``; a user's own file is named as ``path/to/file.py:Name``.

    >>> from kingyo.search.strategies import build
    >>> from kingyo.core.types import Axis, Outcome
    >>> strategy = build("ga", [Axis(name="weight", low=0.0, high=1.0)], seed=0, options={})
    >>> trials = strategy.ask(strategy.batch)
    >>> len(trials)
    20
    >>> strategy.tell([Outcome(trial=trial, value=trial.genome[0]) for trial in trials])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from kingyo.core.io.schema import parse_settings
from kingyo.core.types import Axis, Strategy
from kingyo.errors import KingyoError, crash
from kingyo.registry import Registry
from kingyo.search.strategies.base import FIX_STRATEGY, check_search, check_strategy

COMBINATORS = ("coarse-to-fine", "memetic")
"""Strategies that run another one; none may run one of these."""


class StrategyFactory(Protocol):
    """An entry of the registry, usually the strategy class.

    A class attribute ``handles_objectives = False`` says that it maximises one score in any case.
    """

    @property
    def Settings(self) -> type[object]:  # noqa: N802  (it is a class: GeneticAlgorithm.Settings)
        """Frozen dataclass of options; each has a default, and is described in the docstring."""
        ...

    def __call__(self, axes: Sequence[Axis], seed: int, settings: Any) -> Strategy:
        """Build a strategy, from axes, a seed and ``Settings`` whose bounds ``build`` has checked."""
        ...


STRATEGIES: Registry[StrategyFactory] = Registry("strategy", "kingyo.search.strategies", "kingyo.strategies")


def learns_from_items(name: str, options: Mapping[str, object]) -> bool:
    """Return whether a strategy, or the one that it wraps, learns from scores of individual items."""
    factory = STRATEGIES.get(name)
    within = options.get("strategy", getattr(factory.Settings, "strategy", None))
    if isinstance(within, str):
        return STRATEGIES.is_registered(within) and learns_from_items(within, {})
    return hasattr(factory, "learn_tasks")


def build(
    name: str,
    axes: Sequence[Axis],
    seed: int,
    options: Mapping[str, object],
    folder: Path | None = None,
    key: str = "search.settings",
) -> Strategy:
    """Build a strategy from its name and the user's options.

    Args:
        name: a registered name, or ``path/to/file.py:Name`` relative to ``folder`` (the working directory).
        axes: the search space.
        seed: 0 or more; the same axes, seed, options and history give the same trials.
        options: values for fields of the strategy's ``Settings``.
        folder: see ``name``.
        key: where the options are in run.yaml, for messages.

    Raises:
        KingyoError: unknown name, invalid option, or axes that the strategy cannot search.
    """
    factory = STRATEGIES.get(name, folder)
    settings_class = getattr(factory, "Settings", None)
    if not isinstance(settings_class, type) or not is_dataclass(settings_class):
        expected = "a class with a nested dataclass Settings"
        raise KingyoError(f"strategy {name}", expected, repr(factory), FIX_STRATEGY)
    settings = parse_settings(cast(type[object], settings_class), options, key)
    check_search(axes, seed)
    try:
        strategy = factory(axes, seed, settings)
        check_strategy(f"strategy {name}", strategy)
    except KingyoError:
        raise
    except (Exception, SystemExit) as error:  # a user's strategy may raise anything
        remedy = f"Change search.settings. For a strategy of your own: {FIX_STRATEGY}"
        raise KingyoError(f"strategy {name}", "a strategy that can be built", crash(error), remedy) from error
    return strategy


def derived_seed(seed: int, part: int) -> int:
    """Return a 32-bit seed for one part of a search, such as a restart."""
    import numpy as np  # imported late: listing names and presets needs no numpy

    return int(np.random.SeedSequence([seed, part]).generate_state(1)[0])

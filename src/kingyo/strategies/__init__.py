"""Search: numbers in, numbers out. One algorithm per file; none of them knows a model, a task or a disk.

A strategy is a class with a ``Settings`` dataclass, made from axes, a seed and settings; it asks and is told
(see ``kingyo.types.Strategy``). The package registers its own; plug-ins use the entry-point group
``kingyo.strategies``; a user's file is named as ``path/to/file.py:Name``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Never, Protocol, cast

from kingyo.errors import KingyoError, crash
from kingyo.io.schema import parse_settings
from kingyo.registry import Registry
from kingyo.strategies.checks import FIX, check_strategy
from kingyo.types import Axis, Strategy

__all__ = [
    "MEAN_ALONE",
    "STRATEGIES",
    "StrategyFactory",
    "build",
    "build_within",
    "derived_seed",
    "reads_items",
]

MEAN_ALONE = (
    "cma-es",
    "coarse-to-fine",
    "ga",
    "item-gp",
    "m2n2",
    "mixed-cma-es",
    "sep-cma-es",
    "tpe",
)
"""Those that search for one number, whatever the objectives. Of others, such as plug-ins, nothing is said."""


class StrategyFactory(Protocol):
    """What the registry holds: usually the strategy class itself."""

    @property
    def Settings(self) -> type[object]:  # noqa: N802  (it is a class: GeneticAlgorithm.Settings)
        """Frozen dataclass of the options; every field has a default and a ``doc`` in its metadata."""
        ...

    def __call__(self, axes: Sequence[Axis], seed: int, settings: Never) -> Strategy:
        """Make a strategy; ``settings`` is an instance of this factory's own ``Settings``."""
        ...


class _Make(Protocol):
    """The same call, once ``build`` has made sure that the settings are of the factory's own class."""

    def __call__(self, axes: Sequence[Axis], seed: int, settings: object) -> Strategy: ...


_OUTER, _INNER = "search.settings", "search.settings.settings"

STRATEGIES: Registry[StrategyFactory] = Registry("strategy", "kingyo.strategies", "kingyo.strategies")


def reads_items(name: str, options: Mapping[str, object]) -> bool:
    """Whether a registered strategy, or the one within it, learns from scores of single items.

    Args:
        name: of the strategy.
        options: values for its ``Settings``.

    Raises:
        KingyoError: nobody knows the name.
    """
    factory = STRATEGIES.get(name)
    within = options.get("strategy", getattr(factory.Settings, "strategy", None))
    if isinstance(within, str):
        return STRATEGIES.is_registered(within) and reads_items(within, {})
    return hasattr(factory, "learn_tasks")


def build(
    name: str, axes: Sequence[Axis], seed: int, options: Mapping[str, object], folder: Path | None = None
) -> Strategy:
    """Make the strategy of this name with the options that the user wrote.

    Args:
        name: a registered name, or ``path/to/file.py:Name`` relative to ``folder``.
        axes: the space to search.
        seed: 0 or more; with the same axes, options and history, the same asks.
        options: values for the fields of the strategy's ``Settings``.
        folder: where a relative file is looked up; the working directory when None.

    Raises:
        KingyoError: unknown name, unknown or impossible option, axes that the strategy cannot search, or one
            of the user's own without what every strategy has.
    """
    factory = STRATEGIES.get(name, folder)
    kind = getattr(factory, "Settings", None)
    if not isinstance(kind, type) or not is_dataclass(kind):
        raise KingyoError(
            f"strategy {name}",
            expected="a class with a nested dataclass Settings",
            received=repr(factory if kind is None else cast(object, kind)),
            remedy=FIX,
        )
    settings = parse_settings(cast(type[object], kind), options, "search.settings")
    try:
        strategy = cast(_Make, factory)(axes, seed, settings)
        check_strategy(f"strategy {name}", strategy)
    except KingyoError:
        raise
    except (
        Exception,
        SystemExit,
    ) as error:  # a user's own may raise anything; the package's may lack the memory
        raise KingyoError(
            f"strategy {name}",
            expected="a strategy that can be made",
            received=crash(error),
            remedy=f"Change search.settings. Is it your own? {FIX}",
        ) from error
    return strategy


def build_within(
    name: str, axes: Sequence[Axis], seed: int, options: Mapping[str, object] | None
) -> Strategy:
    """Make the strategy within another one: ``search.settings.strategy``, with ``search.settings.settings``.

    Raises:
        KingyoError: as ``build`` does, naming these two keys.
    """
    try:
        return build(name, axes, seed, options or {})
    except KingyoError as error:
        raise KingyoError(
            _place(error.argument),
            expected=error.expected,
            received=error.received,
            remedy=error.remedy.replace(_OUTER, _INNER),
        ) from error


def _place(argument: str) -> str:
    if argument == "strategy":
        return f"{_OUTER}.strategy"
    if argument.startswith(_OUTER):
        return argument.replace(_OUTER, _INNER)
    is_setting = argument.isidentifier() and argument not in ("axes", "seed")
    return f"{_INNER}.{argument}" if is_setting else argument


def derived_seed(seed: int, part: int) -> int:
    """Return the seed, of 32 bits, of one part of a search, such as an island, a restart or a control.

    Args:
        seed: of the search, 0 or more.
        part: number of the part, 0 or more.
    """
    import numpy as np  # here, so that names and presets are read without it

    return int(np.random.SeedSequence([seed, part]).generate_state(1)[0])

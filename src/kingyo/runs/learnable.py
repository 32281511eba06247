"""Whether a run can learn weights by gradient, and the settings of its main search then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kingyo.core.io.schema import parse_settings
from kingyo.core.types import HasGradients
from kingyo.errors import KingyoError
from kingyo.merging.methods import METHODS
from kingyo.merging.methods.contract import describes
from kingyo.models.kinds import ModelKind
from kingyo.runs.config import RunConfig
from kingyo.runs.settings import RunSettings, deciding_measures
from kingyo.search.strategies import COMBINATORS, STRATEGIES
from kingyo.store import Fact
from kingyo.tasks import TASK_KINDS

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
    """Return whether the main search of a run learns weights: if it can, and run.yaml does not forbid it.

    Raises:
        KingyoError: run.yaml demands it (``learn: true`` or ``strategy: memetic``), and it cannot or is
            forbidden to.
    """
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

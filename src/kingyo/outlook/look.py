"""All that is known of a run before it begins, in one object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.outlook.cost import Cost, count
from kingyo.outlook.memory import Memory, foresee_memory
from kingyo.outlook.paths import Paths, foresee_paths, with_paths
from kingyo.run.assembly import check_all
from kingyo.run.config import RunConfig
from kingyo.run.prepared import Prepared, prepare
from kingyo.run.settings import SearchPlan, is_in_turn, of_merges, search_plan
from kingyo.sizes import counted, size_text
from kingyo.tasks import text_settings
from kingyo.types import SPLITS


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What is known of a run.

    Attributes:
        config: the run.yaml.
        wanted: what it and its preset say of the search.
        prepared: models, items, searches, the first recipe.
        cost: what is scored.
        memory: what it takes.
        paths: how long and large its paths may be; None where weights are merged.
        missing_device: why it cannot run on this machine; None where its device is here.
    """

    config: RunConfig
    wanted: SearchPlan
    prepared: Prepared
    cost: Cost
    memory: Memory
    missing_device: str | None
    paths: Paths | None = None


def foresee(config: RunConfig, folder: Path) -> Outlook:
    """Look at a run without running any of it; of models on the Hub only what says what they are is fetched.

    Args:
        config: the run.yaml.
        folder: where its relative paths start.

    Raises:
        KingyoError: whatever is wrong with models, data or settings.
    """
    prepared = prepare(config, folder, fetch=False)
    prompts = [item.prompt for split in SPLITS for item in prepared.splits[split]]
    asked = [text_settings(spec, folder) for spec in config.specs.values()]
    memory = foresee_memory(
        prepared.models,
        prepared.plan,
        prompts,
        batch_size=config.batch_size,
        max_new_tokens=max((each.max_new_tokens for each in asked if each is not None), default=0),
    )
    paths = None if config.space == "parameters" else foresee_paths(config, prepared.models)
    if paths is not None:
        memory = with_paths(memory, config, prepared.models, paths.longest, prepared.baselines)
    return Outlook(
        config=config,
        wanted=search_plan(of_merges(config) if is_in_turn(config) else config),
        prepared=prepared,
        cost=count(prepared.searches, len(prepared.baselines), prepared.splits, config.finalists),
        memory=memory,
        paths=paths,
        missing_device=_missing(config.device),
    )


def check(config: RunConfig, folder: Path) -> list[str]:
    """Check models, data and settings as ``begin`` does, and say in sentences what was found."""
    prepared = check_all(config, folder)
    shape, n = prepared.models.skeleton, len(prepared.models.sources)
    splits = ", ".join(f"{len(items)} {split}" for split, items in prepared.splits.items())
    example = prepared.splits["fit"][0]
    near = f" {prepared.near}." if prepared.near.groups else ""
    paths = None if config.space == "parameters" else foresee_paths(config, prepared.models)
    longest = (
        f"The longest path has {counted(paths.longest, 'layer')} and {size_text(paths.longest_bytes)} "
        "of weights."
        if paths is not None
        else None
    )
    return [
        f"{counted(n, 'model')} of {shape.n_parameters:,} parameters {'fits' if n == 1 else 'fit together'}.",
        *([longest] if longest is not None else []),
        f"Items: {splits}; {counted(prepared.duplicates, 'duplicate')} dropped.{near}",
        f"An item: {example.prompt!r} -> {example.answer!r}",
        f"{counted(len(prepared.axes), 'gene')}: {', '.join(axis.name for axis in prepared.axes[:8])}"
        f"{', …' if len(prepared.axes) > 8 else ''}",
        *(f"Note: {note}" for note in prepared.notes),
    ]


def _missing(device: str) -> str | None:
    """A run may be looked at where it cannot run."""
    if device == "cpu":
        return None
    from kingyo.models.loading import require_device  # it takes seconds

    try:
        require_device(device)
    except KingyoError as error:
        return f"device: expected {error.expected}; received {error.received}"
    return None

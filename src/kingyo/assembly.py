"""Where a run's parts are put together: the only module that knows every craft.

``begin`` checks a run.yaml against the models and the data that it names, before anything is written, and
makes the run folder; ``assemble`` builds the journey of a run folder, new or half-way.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from kingyo import __version__
from kingyo.checkpoints import check_finite, fingerprint
from kingyo.config import RunConfig, load_config, load_tasks, parse_config
from kingyo.documents import read_yaml
from kingyo.errors import KingyoError
from kingyo.evaluate import Evaluator
from kingyo.evolve import Event, Journey, aims_as_facts
from kingyo.kernels.facts import Facts
from kingyo.late import torch
from kingyo.merge import Sources, plan
from kingyo.methods import METHODS
from kingyo.registry import is_in_file
from kingyo.searches import Models, aims_of, baseline_recipes, open_models, search_plan, searches
from kingyo.space import probes
from kingyo.store import RunStore
from kingyo.tasks import TaskSpec, build_tasks, load_splits, load_task_spec, single_tasks
from kingyo.types import SPLITS, Axis, Item, Split, Task

TINY = 10_000_000
"""Models of fewer parameters compute with one thread, unless the run.yaml says otherwise."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run.yaml whose models, data and settings were found to fit together."""

    models: Models
    splits: Mapping[Split, tuple[Item, ...]]
    duplicates: int
    axes: tuple[Axis, ...]


def prepare(config: RunConfig, folder: Path) -> Prepared:
    """Check models, data and settings: everything that can be known before a search but the prompts' lengths.

    Args:
        config: the run.yaml.
        folder: where its relative paths start.

    Raises:
        KingyoError: whatever is wrong with models, data or settings.
    """
    for name in search_plan(config).methods:  # first what takes no time to find out
        METHODS.get(name, folder)
    models = open_models(config, folder)
    loaded = load_splits(config.specs, folder)
    build_tasks(config.specs, loaded.splits, folder)
    planned = searches(config, folder, models)
    from kingyo.models.loading import require_device  # after slips of the pen are answered: it takes seconds

    require_device(config.device)
    for each in models.by_reference.values():
        check_finite(each)
    sources = Sources(models.by_reference, folder)
    for search in planned:
        for genome in probes(search.space.axes):
            plan(search.space.decode(genome), sources)
    if config.merge.dtype is None:
        _check_dtypes(models)
    return Prepared(
        models=models,
        splits=loaded.splits,
        duplicates=loaded.duplicates,
        axes=tuple(planned[0].space.axes),
    )


def _check_prompts(task: Task, models: Models) -> None:
    """Read every prompt of every split now: a test item that is too long must not end a search of hours."""
    from kingyo.models.reader import PromptReader

    reader = PromptReader.load(models.skeleton.path)
    for each in single_tasks(task):
        for split in SPLITS:
            try:
                each.score(reader, each.items(split))
            except KingyoError:
                raise
            except Exception:  # noqa: BLE001 (AllRead; or a task of the user's own that needs answers)
                continue


def _check_dtypes(models: Models) -> None:
    """The live model is as wide as the skeleton: it cannot hold a parent that is wider."""
    like = models.skeleton
    for name, checkpoint in models.sources.items():
        for info in checkpoint.tensors.values():
            held = like.tensors[info.name].dtype
            wide, live = getattr(torch, info.dtype), getattr(torch, held)
            if info.is_floating and torch.promote_types(wide, live) != live:
                raise KingyoError(
                    f"sources.{name}: {info.name}",
                    expected=f"weights that fit into {held}, as {like.reference} has them",
                    received=info.dtype,
                    remedy="Say the dtype of all candidates: merge.dtype, such as float32.",
                )


def begin(config: RunConfig, folder: Path, run: Path) -> RunStore:
    """Check a run.yaml, then make the run folder and store all that it is made of.

    Raises:
        KingyoError: whatever is wrong with models, data or settings; nothing has been written then.
    """
    prepared = prepare(config, folder)
    _check_prompts(build_tasks(config.specs, prepared.splits, folder), prepared.models)
    store = RunStore.create(run)
    facts = {
        "name": config.name,
        "version": __version__,
        "created": time.time(),
        "status": "running",
        "folder": str(folder.resolve()),
        "folder_from_run": os.path.relpath(folder.resolve(), run.resolve()),
        "config": config.model_dump(mode="json", by_alias=True, exclude_unset=True),
        "models": {name: fingerprint(each) for name, each in prepared.models.by_reference.items()},
        "code": user_code(config, folder),
        "duplicates_dropped": prepared.duplicates,
        **aims_as_facts(aims_of(config, folder)),
        "threads": config.threads or _threads(prepared.models),
    }
    store.begin(facts, prepared.splits)
    return store


def _threads(models: Models) -> int:
    """One for a tiny model: a second gains nothing, and waits for long where another job has the core."""
    return 1 if models.skeleton.n_parameters < TINY else torch.get_num_threads()


def assemble(store: RunStore, notify: Callable[[Event], None]) -> Journey:
    """Build the journey of a run folder from what it stores of itself."""
    config, folder = stored_config(store)
    _check_code(store, user_code(config, folder))
    models = stored_models(store, config, folder)
    from kingyo.models.language import LiveModel

    splits = store.items()
    use_threads(store)
    model = LiveModel.load(
        models.skeleton.path, dtype=config.merge.dtype, device=config.device, batch_size=config.batch_size
    )
    return Journey(
        store=store,
        evaluate=Evaluator(
            model,
            Sources(models.by_reference, folder, Facts(file=store.folder / "facts.sqlite")),
            build_tasks(config.specs, splits, folder),
        ),
        baselines=baseline_recipes(config, models),
        searches=searches(config, folder, models),
        finalists=config.finalists,
        notify=notify,
    )


def stored_config(store: RunStore) -> tuple[RunConfig, Path]:
    """Return the config of a run and the folder where its paths start."""
    data, folder = store.fact("config"), store.fact("folder")
    if not isinstance(data, dict) or not isinstance(folder, str):
        raise KingyoError(
            str(store.folder),
            expected="a run that was set up completely",
            received="one that was stopped before its first step",
            remedy="Delete the folder and start again with `kingyo evolve`.",
        )
    return parse_config(cast(dict[str, object], data), str(store.folder)), _found_again(store, Path(folder))


def _found_again(store: RunStore, folder: Path) -> Path:
    """Where relative paths start today: as when it began, or seen from a run folder that moved along."""
    way = store.fact("folder_from_run")
    if not folder.is_dir() and isinstance(way, str):
        moved = (store.folder / way).resolve()
        return moved if moved.is_dir() else folder
    return folder


def user_code(config: RunConfig, folder: Path) -> dict[str, str]:
    """Hash the files of the user's own that a run.yaml names: graders, task kind, method, strategy."""
    specs = config.specs.values()
    graders = [name for spec in specs for name, _ in spec.graders]
    kinds = [spec.kind for spec in specs]
    named = [*graders, *kinds, *config.merge.methods, config.search.strategy]
    files = {name.rpartition(":")[0] for name in named if name is not None and is_in_file(name)}
    return {file: _digest(folder / file) for file in sorted(files)}


def _digest(path: Path) -> str:
    """SHA-256 of a file; empty when it is gone, which whoever loads it says better."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _check_code(store: RunStore, now: Mapping[str, str]) -> None:
    """Refuse code that changed once there are scores: old and new ones would be mixed.

    Before the first score a change is a repair, and is taken.
    """
    before = store.fact("code")
    if before is None or before == now:
        return
    if store.item_evaluations():
        changed = [file for file, digest in now.items() if digest != cast("dict[str, str]", before).get(file)]
        raise KingyoError(
            ", ".join(changed),
            expected="the code that the run's scores were made with",
            received="a file that changed or went since",
            remedy="Bring the old file back, or start a new run.",
        )
    store.set_fact("code", dict(now))


def stored_models(store: RunStore, config: RunConfig, folder: Path) -> Models:
    """Open the models of a run, and make sure that they are what they were when it began.

    Raises:
        KingyoError: one cannot be opened, or is another model now: scores of both would be mixed.
    """
    models = open_models(config, folder)
    known = store.fact("models")
    for name, checkpoint in models.by_reference.items():
        before = cast("dict[str, object]", known).get(name) if isinstance(known, dict) else None
        if before is not None and fingerprint(checkpoint) != before:
            raise KingyoError(
                f"model {name}",
                expected="the weights, config and tokenizer that the run began with",
                received=f"other ones in {checkpoint.path}",
                remedy="Bring the old files back, or breed the new ones in a run of their own.",
            )
    return models


def check(config: RunConfig, folder: Path) -> list[str]:
    """Check models, data and settings as ``begin`` does, and say in sentences what was found."""
    prepared = prepare(config, folder)
    shape = prepared.models.skeleton
    splits = ", ".join(f"{len(items)} {split}" for split, items in prepared.splits.items())
    example = prepared.splits["fit"][0]
    return [
        f"{len(prepared.models.sources)} models of {shape.n_parameters:,} parameters fit together.",
        f"Items: {splits}; {prepared.duplicates} duplicates dropped.",
        f"An item: {example.prompt!r} -> {example.answer!r}",
        f"{len(prepared.axes)} genes: {', '.join(axis.name for axis in prepared.axes[:8])}"
        f"{', …' if len(prepared.axes) > 8 else ''}",
    ]


def use_threads(store: RunStore) -> None:
    """Compute with as many threads as the run began with: sums, and so answers, may depend on it."""
    threads = store.fact("threads")
    if isinstance(threads, int):
        torch.set_num_threads(threads)


def open_task(path: Path) -> Task:
    """Open a task file, the tasks of a run.yaml, or those of a run folder with the run's own items.

    A file of nothing but ``tasks:`` will do as well. Several tasks are opened as one, see ``SeveralTasks``.

    For a run folder torch then computes with as many threads as the run did, see ``use_threads``.
    """
    if path.is_dir():
        with RunStore.read(path) as store:
            use_threads(store)
            config, folder = stored_config(store)
            return build_tasks(config.specs, store.items(), folder)
    specs = _specs_in(path)
    return build_tasks(specs, load_splits(specs, path.parent).splits, path.parent)


def _specs_in(path: Path) -> dict[str, TaskSpec]:
    keys = set(read_yaml(path))
    if keys == {"tasks"}:
        return load_tasks(path)
    if keys & {"task", "tasks"}:
        return load_config(path).specs
    spec = load_task_spec(path)
    return {spec.name: spec}

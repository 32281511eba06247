"""Where a run's parts are put together: the only module that knows every craft.

``begin`` checks a run.yaml against the models and the data that it names, before anything is written, and
makes the run folder; ``assemble`` builds the journey of a run folder, new or half-way.
"""

from __future__ import annotations

import os
import platform
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

from kingyo import __version__
from kingyo.checkpoints import Checkpoint, check_finite, fingerprint
from kingyo.checkpoints.lora import AdaptedCheckpoint
from kingyo.documents import read_yaml
from kingyo.errors import KingyoError
from kingyo.evaluate import Builder, Evaluator, Filled, Passed
from kingyo.evolve import Event, Journey, Search, aims_as_facts
from kingyo.kernels.facts import Facts, memory_size
from kingyo.late import torch
from kingyo.merge import Plan, Sources, plan, to_folder
from kingyo.recipe import MERGED, Recipe
from kingyo.run.config import (
    CHOICE_NORMALISE,
    TRAINED,
    RunConfig,
    choosing_as_before,
    load_config,
    load_tasks,
    parse_config,
)
from kingyo.run.extensions import Amounts, asked_controls, extend, extended
from kingyo.run.layer_paths import KnownPaths, frame_of, known_paths, models_of_paths
from kingyo.run.models import Models, open_models
from kingyo.run.prepared import Prepared, is_like, prepare
from kingyo.run.provenance import (
    Renewal,
    accept_changes,
    changed_error,
    differences,
    made_with,
    measures_of,
    require_same,
    require_same_code,
    require_same_or_store,
    score_again,
)
from kingyo.run.searches import (
    CONTROLS,
    baseline_recipes,
    possible_controls,
    require_control,
    searches,
    searches_after,
)
from kingyo.run.seeds import require_alike, scored_elsewhere
from kingyo.run.settings import is_in_turn
from kingyo.run.trained import open_trained
from kingyo.runners import LocalRunner, ProcessRunner, RayRunner, Runner
from kingyo.runners.clusters import Place
from kingyo.space import STEPS, probes
from kingyo.store import RunStore
from kingyo.tasks import (
    TASKS,
    TaskSpec,
    build_tasks,
    load_splits,
    load_task_spec,
    require_teaching,
    single_tasks,
)
from kingyo.types import SPLITS, Task

if TYPE_CHECKING:
    from kingyo.models.language import LiveModel

TINY = 10_000_000
"""Models of fewer parameters compute with one thread, unless the run.yaml says otherwise."""


OWN_SECONDS = 3600.0
"""The limit for a candidate on a task of the user's own, where the run.yaml gives none."""


def check_all(config: RunConfig, folder: Path) -> Prepared:
    """Check models, data and settings: everything that can be known before a search but the prompts' lengths.

    Args:
        config: the run.yaml.
        folder: where its relative paths start.

    Raises:
        KingyoError: whatever is wrong with models, data or settings.
    """
    prepared = prepare(config, folder)
    from kingyo.models.loading import require_device  # after slips of the pen are answered: it takes seconds

    require_device(config.device)
    for each in prepared.models.by_reference.values():
        check_finite(each)
    return prepared


def _check_prompts(task: Task, config: RunConfig, models: Models) -> None:
    """Read every prompt of every split now: a test item that is too long must not end a search of hours."""
    from kingyo.models.reader import PromptReader

    reads = models.skeleton if config.space == "parameters" else frame_of(config, models)
    reader = PromptReader.load(reads.path)
    for each in single_tasks(task):
        for split in SPLITS:
            try:
                each.score(reader, each.items(split))
            except KingyoError:
                raise
            except (Exception, SystemExit):  # noqa: BLE001 (AllRead; or an own task that needs answers)
                continue


def begin(
    config: RunConfig, folder: Path, run: Path, *, seeds: Path | None = None, file: Path | None = None
) -> RunStore:
    """Check a run.yaml, then make the run folder and store all that it is made of.

    Args:
        config: the run.yaml.
        folder: where its relative paths start.
        run: the run folder to make.
        seeds: the folder of the runs of other seeds, if it is to stand beside them.
        file: the run.yaml itself, in the folder; its name is stored.

    Raises:
        KingyoError: whatever is wrong with models, data or settings, or the runs of other seeds differ in
            more than the seed; nothing has been written then.
    """
    prepared = check_all(config, folder)
    _check_prompts(build_tasks(config.specs, prepared.splits, folder), config, prepared.models)
    fingerprints = {name: fingerprint(each) for name, each in prepared.models.by_reference.items()}
    made_of = {
        "config": as_fact(config),
        "models": fingerprints,
        **made_with(config, folder),
        "known_paths": known_paths(config, folder, prepared.models),
    }
    if seeds is not None:
        require_alike(seeds, {**made_of, "items": prepared.splits, CHOICE_NORMALISE: None})
    store = RunStore.create(run)
    facts = {
        "name": config.name,
        "version": __version__,
        "created": time.time(),
        "status": "running",
        "folder": str(folder.resolve()),
        **({} if file is None else {"run_yaml": file.name}),
        "folder_from_run": os.path.relpath(folder.resolve(), run.resolve()),
        **made_of,
        "duplicates_dropped": prepared.duplicates,
        "near_duplicates": asdict(prepared.near),
        **aims_as_facts(prepared.searches[0].aims),
        "notes": list(prepared.notes_knowing(fingerprints)),
        "threads": config.threads or _threads(prepared.models, config.workers),
        "gene_steps": STEPS,
        "possible_controls": list(possible_controls(config, folder, prepared.models)),
    }
    store.begin(facts, prepared.splits)
    return store


def as_fact(config: RunConfig) -> dict[str, object]:
    """A run.yaml as a run stores it: what it says, and none of the defaults."""
    return config.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _threads(models: Models, workers: int) -> int:
    """One for a tiny model: a second gains nothing, and waits for long where another job has the core.

    Workers share the cores.
    """
    return 1 if models.skeleton.n_parameters < TINY else max(1, torch.get_num_threads() // workers)


def assemble(store: RunStore, notify: Callable[[Event], None]) -> Journey:
    """Build the journey of a run folder from what it stores of itself."""
    config, folder = stored_config(store)
    config = _with_controls(config, asked_controls(store))
    require_same_or_store(store, config, folder)
    models = stored_models(store, config, folder)
    known = cast("KnownPaths | None", store.fact("known_paths"))
    first = searches(config, folder, models, is_exact=store.fact("gene_steps") is None, known=known)

    def then(merge: Recipe) -> list[Search]:
        return extended(searches_after(merge, config, folder, models, known), store)

    return Journey(
        store=store,
        runner=_runner(store, config),
        baselines=baseline_recipes(config, models),
        searches=extended(first, store),
        then=then if is_in_turn(config) else None,
        finalists=config.finalists,
        reuse=config.search.reuse,
        known=scored_elsewhere(store),
        notify=notify,
    )


def rescore(store: RunStore) -> Renewal:
    """Reset a run to its beginning and keep its earlier scores in a file beside it; nothing is run yet.

    Args:
        store: the run, open for writing.

    Raises:
        KingyoError: a model is another one now, or the task cannot be opened; nothing is changed then.
    """
    config, folder = stored_config(store)
    config = _with_controls(config, asked_controls(store))
    stored_models(store, config, folder)
    build_tasks(config.specs, store.items(), folder)
    return score_again(store, config, folder)


def require_unchanged(store: RunStore) -> None:
    """Check that a run's scores were made with today's code and versions; see ``require_same``."""
    require_same(store, *stored_config(store))


def accept(store: RunStore) -> Renewal | None:
    """Let a run go on with other code or versions than it has scores of; see ``accept_changes``."""
    config, folder = stored_config(store)
    build_tasks(config.specs, store.items(), folder)
    return accept_changes(store, _with_controls(config, asked_controls(store)), folder)


def add_budget(store: RunStore, more: Amounts) -> None:
    """Add to the budget of a run whose models and code are as it began; nothing is run yet.

    Args:
        store: the run, open for writing.
        more: key of the budget -> what to add.

    Raises:
        KingyoError: models or code have changed, the run has no such budget, or it would buy no candidate;
            nothing is changed then.
    """
    config, folder = stored_config(store)
    require_same(store, config, folder)
    stored_models(store, config, folder)
    extend(store, config, more)


def add_control(store: RunStore, name: str) -> bool:
    """Let a finished run have a control that it was begun without; nothing is run yet.

    Args:
        store: the run, open for writing.
        name: of the control.

    Returns:
        Whether there is something to run: False where the control is done.

    Raises:
        KingyoError: there is no such control, this run cannot have it, or is not finished.
    """
    config, folder = stored_config(store)
    is_finished = store.status() == "finished"
    if name in asked_controls(store) or (name in store.searches() and name in CONTROLS):
        return not is_finished
    require_same(store, config, folder)
    require_control(name, config, folder, stored_models(store, config, folder))
    if name == TRAINED:
        require_teaching(build_tasks(config.specs, store.items(), folder))
    if not is_finished:
        raise KingyoError(
            str(store.folder),
            expected="a finished run: a control costs what its search did",
            received="one that is not at its end",
            remedy=f"Go on with it first: kingyo resume {shlex.quote(str(store.folder))}",
        )
    store.reopen({"controls": [*asked_controls(store), name], "status": "running"}, {})
    return True


def _with_controls(config: RunConfig, names: Sequence[str]) -> RunConfig:
    controls = config.controls.model_copy(update=dict.fromkeys(names, True))
    return config.model_copy(update={"controls": controls})


def _runner(store: RunStore, config: RunConfig) -> Runner:
    """Where candidates are evaluated. The result of one does not depend on it."""
    work = WorkOfRun(run=store.folder.resolve())
    if config.runner == "local":
        return LocalRunner(evaluator_of(store))
    if config.runner == "processes":
        return ProcessRunner(work, n_workers=config.workers, timeout=candidate_timeout(config))
    threads = store.fact("threads")
    place = Place(cpus=threads if isinstance(threads, int) else 1, gpus=int(config.device.startswith("cuda")))
    return RayRunner(work, n_workers=config.workers, timeout=candidate_timeout(config), place=place)


@dataclass(frozen=True, kw_only=True)
class WorkOfRun:
    """What a worker needs to know to evaluate the candidates of a run: its folder."""

    run: Path

    def __call__(self) -> Evaluator:
        """Build the live model and all else, from what the run stores of itself.

        Raises:
            KingyoError: a model, the data, code or versions here are not those of the run.
        """
        with RunStore.read(self.run) as store:
            changed = differences(store, *stored_config(store))
            if changed:
                alike = "Install the run's versions, and the same files, wherever a worker of it is."
                raise changed_error(store, changed, alike).placed(f"worker on {platform.node()}")
            return evaluator_of(store)


def evaluator_of(store: RunStore) -> Evaluator:
    """Load the live model of a run, and its task; torch then computes with the run's threads.

    Raises:
        KingyoError: a model or the data are not what they were when the run began.
    """
    config, folder = stored_config(store)
    models = stored_models(store, config, folder)
    use_threads(store)
    facts = Facts(memory_size() // 4 // config.workers, measures_of(store.folder))
    sources = Sources(models.by_reference, folder, facts, partial(open_trained, store.folder, folder))
    task = build_tasks(config.specs, store.items(), folder)
    timeout = candidate_timeout(config) if config.runner == "local" else None  # other runners end the worker
    if config.space != "parameters":
        return Evaluator(_paths(config, models, sources), task, timeout)
    first = plan(_first(searches(config, folder, models)[0]), sources)
    return Evaluator(Filled(_live_model(store, config, models, first), sources), task, timeout)


def candidate_timeout(config: RunConfig) -> float | None:
    """Return the seconds that a candidate may take; a task of the user's own may block, so it has an hour."""
    has_own = any(
        not TASKS.is_registered(spec.kind) for spec in config.specs.values() if spec.kind is not None
    )
    return config.timeout or (OWN_SECONDS if has_own else None)


def _first(search: Search) -> Recipe:
    return search.space.decode(next(probes(search.space.axes)))


def _live_model(store: RunStore, config: RunConfig, models: Models, first: Plan) -> LiveModel:
    """The model that candidates are filled into: like base or first source, if candidates are.

    Where vocabularies were brought together they are not: then one candidate is written, loaded, and deleted.
    """
    if is_like(first, models.skeleton):
        return _load(config, models.skeleton.path)
    with TemporaryDirectory(prefix="live-", dir=store.folder) as made:
        return _load(config, to_folder(first, Path(made) / "model"))


def _load(config: RunConfig, path: Path, dtype: str | None = None) -> LiveModel:
    from kingyo.models.language import LiveModel

    dtype = dtype or config.merge.dtype
    return LiveModel.load(path, dtype=dtype, device=config.device, batch_size=config.batch_size)


def _paths(config: RunConfig, models: Models, sources: Sources) -> Passed:
    """All models of the paths, the merge among them if one is searched too, live at once.

    They have the dtype of the frame, which comes first.
    """
    from kingyo.models.language import PathModels

    live: dict[str, LiveModel] = {}
    inner: dict[str, Builder] = {}
    dtype: str | None = None
    for name, each in models_of_paths(config, models).items():
        if name == MERGED and config.space == "hybrid":
            live[MERGED] = _load(config, each.path, dtype)
            inner[MERGED] = Filled(live[MERGED], sources)
        elif each.reference not in live:
            live[each.reference] = _load_source(config, each, dtype)
        dtype = dtype or str(next(iter(live.values())).module.dtype).removeprefix("torch.")
    return Passed(PathModels(live), lambda: Filled(_load(config, models.skeleton.path), sources), inner)


def _load_source(config: RunConfig, source: Checkpoint, dtype: str | None = None) -> LiveModel:
    """A source as it is, with the LoRA that it may be named with."""
    model = _load(config, source.path, dtype)
    if isinstance(source, AdaptedCheckpoint):
        source.into(model.weights)
    return model


def stored_config(store: RunStore) -> tuple[RunConfig, Path]:
    """Return the config of a run, with the defaults of the day it began, and where its paths start."""
    config, folder = config_as_written(store)
    return choosing_as_before(config) if store.fact(CHOICE_NORMALISE) is False else config, folder


def config_as_written(store: RunStore) -> tuple[RunConfig, Path]:
    """Return the config of a run as its run.yaml said it, and the folder where its paths start."""
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


def use_threads(store: RunStore) -> None:
    """Compute with as many threads as the run began with: sums, and so answers, may depend on it."""
    threads = store.fact("threads")
    if isinstance(threads, int):
        torch.set_num_threads(threads)


def open_task(path: Path) -> Task:
    """Open a task file, the tasks of a run.yaml, or those of a run folder with the run's own items.

    A file of nothing but ``tasks:`` will do as well. Several tasks are opened as one, see ``SeveralTasks``.

    For a run folder torch then computes with as many threads as the run did, see ``use_threads``.

    Raises:
        KingyoError: what was named is no task; or a grader of a run is no longer what its scores were made
            with.
    """
    if path.is_dir():
        with RunStore.read(path) as store:
            use_threads(store)
            config, folder = stored_config(store)
            require_same_code(store, config, folder)
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

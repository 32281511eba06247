"""Where candidates of a run are evaluated: its live model, filled anew for each of them, and its task."""

from __future__ import annotations

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from kingyo.engine import Sources, Writing, to_folder
from kingyo.io.lazy_torch import torch
from kingyo.kernels.statistics_cache import TensorStats, memory_size
from kingyo.models.kinds import Live, PassesLayers, load_live, require_ability
from kingyo.recipe import MERGED
from kingyo.run.config import RunConfig
from kingyo.run.layer_paths import models_of_paths
from kingyo.run.model_kind import load_checkpoint, load_options
from kingyo.run.preflight import is_like
from kingyo.run.provenance import changed_error, differences, measures_of
from kingyo.run.run import Run
from kingyo.run.stored_config import stored_config
from kingyo.runners import LocalRunner, ProcessRunner, RayRunner, Runner
from kingyo.runners.clusters import Place
from kingyo.runners.evaluate import Builder, Evaluator, Filled, Passed
from kingyo.store import RunStore
from kingyo.tasks import TASK_KINDS

OWN_SECONDS = 3600.0
"""The limit for a candidate on a task of the user's own, where the run.yaml gives none."""


def runner_of(run: Run) -> Runner:
    """Return where candidates of a run are evaluated. The result of one does not depend on it."""
    config, work = run.config, WorkOfRun(run=run.begun.folder.resolve())
    if config.runner == "local":
        return LocalRunner(evaluator_of(run))
    if config.runner == "processes":
        return ProcessRunner(work, n_workers=config.workers, timeout=candidate_timeout(config))
    threads = run.begun.fact("threads")
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
            return evaluator_of(Run.stored(store))


def evaluator_of(run: Run) -> Evaluator:
    """Load the live model of a run, and its task; torch then computes with the run's threads.

    Raises:
        KingyoError: a model or the data are not what they were when the run began.
    """
    config, store = run.config, run.begun
    use_threads(store)
    sources = run.open_sources(TensorStats(memory_size() // 4 // config.workers, measures_of(store.folder)))
    timeout = candidate_timeout(config) if config.runner == "local" else None  # other runners end the worker
    build = _filled(run, sources) if run.settings.paths is None else _passed(run, sources)
    return Evaluator(build, run.task, timeout)


def candidate_timeout(config: RunConfig) -> float | None:
    """Return the seconds that a candidate may take; a task of the user's own may block, so it has an hour."""
    has_own = any(
        not TASK_KINDS.is_registered(spec.kind) for spec in config.specs.values() if spec.kind is not None
    )
    return config.timeout or (OWN_SECONDS if has_own else None)


def use_threads(store: RunStore) -> None:
    """Compute with as many threads as the run began with: sums, and so answers, may depend on it."""
    threads = store.fact("threads")
    if isinstance(threads, int):
        torch.set_num_threads(threads)


def _filled(run: Run, sources: Sources) -> Filled:
    """A model like base or first source, if candidates are.

    Where vocabularies were brought together they are not: then one candidate is written, loaded, and deleted.
    """
    skeleton, options = run.models.skeleton, load_options(run.config)
    if is_like(run.plan, skeleton):
        return Filled(load_live(run.kind, skeleton.path, options), sources)
    with TemporaryDirectory(prefix="live-", dir=run.begun.folder) as made:
        around = skeleton.around or None
        written = to_folder(run.plan, Path(made) / "model", writing=Writing(around=around))
        model = written if around is None else written / skeleton.path.absolute().name
        return Filled(load_live(run.kind, model, options), sources)


def _passed(run: Run, sources: Sources) -> Passed:
    """All models of the paths, the merge among them if one is searched too, live at once.

    They have the dtype of the frame, which comes first.
    """
    config = run.config
    kind = require_ability(f"space: {config.space}", PassesLayers, run.kind, "Say space: parameters.")
    live: dict[str, Live] = {}
    inner: dict[str, Builder] = {}
    options = load_options(config)
    for name, each in models_of_paths(run).items():
        if name == MERGED and config.space == "hybrid":
            live[MERGED] = load_live(kind, each.path, options)
            inner[MERGED] = Filled(live[MERGED], sources)
        elif each.reference not in live:
            live[each.reference] = load_checkpoint(each, kind, options)
        options = replace(options, dtype=options.dtype or next(iter(live.values())).dtype)

    def merged() -> Filled:
        return Filled(load_live(kind, run.models.skeleton.path, load_options(config)), sources)

    return Passed(kind.path_models(live), merged, inner)

"""Evaluate candidates of a run in its live model."""

import platform
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from kingyo.merging.engine import Sources, to_folder
from kingyo.merging.kernels.statistics_cache import TensorStats, memory_size
from kingyo.merging.recipe import MERGED
from kingyo.models.kinds import Live, LoadOptions, PassesLayers, load_live, require_ability
from kingyo.runs.config import RunConfig
from kingyo.runs.model_kind import layers_kind, load_checkpoint, load_options
from kingyo.runs.preflight import fits_into
from kingyo.runs.provenance import changed_error, differences
from kingyo.runs.run import Run
from kingyo.runs.setup import THREADS, use_threads
from kingyo.runs.spaces import merged_before_language, models_of_paths
from kingyo.search.runners import LocalRunner, ProcessRunner, RayRunner, Runner
from kingyo.search.runners.evaluate import Builder, Evaluator, InPlaceMerger, LayerPathBuilder
from kingyo.store import RunStore
from kingyo.tasks import TASK_KINDS

USER_TASK_SECONDS = 3600.0
"""Default time limit of a candidate on a task of the user's own, in seconds."""


def runner_of(run: Run) -> Runner:
    """Return the runner of a run; results do not depend on it."""
    config, builder = run.config, RunEvaluatorBuilder(run=run.begun.folder.resolve())
    if config.runner == "local":
        return LocalRunner(evaluator_of(run))
    if config.runner == "processes":
        return ProcessRunner(builder, n_workers=config.workers, timeout=candidate_timeout(config))
    cpus, gpus = run.begun.fact(THREADS) or 1, int(config.device.startswith("cuda"))
    return RayRunner(
        builder, n_workers=config.workers, timeout=candidate_timeout(config), cpus=cpus, gpus=gpus
    )


def shared_merger(run: Run, runner: Runner) -> InPlaceMerger:
    """Return the merger of a runner in this process, or else one of its own."""
    evaluator = runner.evaluate if isinstance(runner, LocalRunner) else None
    if isinstance(evaluator, Evaluator) and isinstance(evaluator.build, InPlaceMerger):
        return evaluator.build
    return merger_of(run, run.open_sources(TensorStats(1 << 28)))


@dataclass(frozen=True, kw_only=True)
class RunEvaluatorBuilder:
    """Build the evaluator of a run in a worker."""

    run: Path

    def __call__(self) -> Evaluator:
        with RunStore.read(self.run) as store:
            changes = differences(store)
            if changes:
                remedy = "Install the run's versions, and the same files, wherever it has a worker."
                raise changed_error(store, changes, remedy).placed(f"worker on {platform.node()}")
            return evaluator_of(Run.stored(store))


def evaluator_of(run: Run) -> Evaluator:
    config, store = run.config, run.begun
    use_threads(store)
    sources = run.open_sources(TensorStats(memory_size() // 4 // config.workers))
    is_local = config.runner == "local"  # other runners end the worker process
    timeout = candidate_timeout(config) if is_local else None
    build = merger_of(run, sources) if run.settings.paths is None else _path_builder_of(run, sources)
    return Evaluator(build, run.task, timeout)


def candidate_timeout(config: RunConfig) -> float | None:
    """Return the time limit of a candidate in seconds; one hour by default for a task of the user's own."""
    kinds = [spec.kind for spec in config.specs.values() if spec.kind is not None]
    has_own = not all(map(TASK_KINDS.is_registered, kinds))
    return config.timeout or (USER_TASK_SECONDS if has_own else None)


def merger_of(run: Run, sources: Sources) -> InPlaceMerger:
    """Return one live model that is filled with each candidate.

    If candidates have another shape than the skeleton, as with united vocabularies, one is written and
    loaded.
    """
    skeleton, options = run.models.skeleton, _load_options(run)
    if fits_into(run.plan, skeleton):
        return InPlaceMerger(load_live(run.kind, skeleton.path, options), sources)
    with TemporaryDirectory(prefix="live-", dir=run.begun.folder) as scratch:
        around = skeleton.around or None
        written = to_folder(run.plan, Path(scratch) / "model", around=around)
        model = written if around is None else written / skeleton.path.absolute().name
        return InPlaceMerger(load_live(run.kind, model, options), sources)


def _load_options(run: Run) -> LoadOptions:
    return load_options(run.config, None if merged_before_language(run) else run.begun.folder)


def _path_builder_of(run: Run, sources: Sources) -> LayerPathBuilder:
    """Return the live models of all paths, in the dtype of the frame, which is first."""
    config = run.config
    kind = require_ability(f"space: {config.space}", PassesLayers, run.kind, "Write space: parameters.")
    live: dict[str, Live] = {}
    mergers: dict[str, Builder] = {}
    options = _load_options(run)
    for name, model in models_of_paths(run).items():
        if name == MERGED and config.space == "hybrid":
            live[MERGED] = load_live(kind, model.path, options)
            mergers[MERGED] = InPlaceMerger(live[MERGED], sources)
        elif model.reference not in live:
            live[model.reference] = load_checkpoint(model, layers_kind(model, kind), options)
        options = replace(options, dtype=options.dtype or next(iter(live.values())).dtype)

    def load_merger() -> InPlaceMerger:
        return InPlaceMerger(load_live(kind, run.models.skeleton.path, _load_options(run)), sources)

    return LayerPathBuilder(kind.path_models(live), load_merger, mergers)

"""Begin and continue runs."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from kingyo.api.inputs import AnyGrader, AnyItems, with_inputs
from kingyo.api.new_run import NewRun
from kingyo.api.options import AnyPath, as_path
from kingyo.api.progress import SILENT, Progress
from kingyo.api.results import AnyRun, StoredRun, run_folder
from kingyo.core.io.yaml import read_yaml
from kingyo.errors import KingyoError
from kingyo.runs.begin import make_choice
from kingyo.runs.choice import is_choosing
from kingyo.runs.config_file import name_from_path
from kingyo.runs.cost import choice_cost, remaining_cost
from kingyo.runs.extensions import kept_if_used
from kingyo.runs.resume import (
    add_control,
    add_tuning,
    is_complete,
    journey_of,
    renew,
    require_same_code,
)
from kingyo.runs.run import Run
from kingyo.search.evolution import Event
from kingyo.store import DATABASE, RunStore, require_new

OnTrial = Callable[[dict[str, object]], object]


def evolve(
    config: AnyPath | Mapping[str, object],
    run: AnyPath | None = None,
    *,
    folder: AnyPath | None = None,
    seed: int | None = None,
    data: AnyItems | None = None,
    grader: AnyGrader | None = None,
    on_trial: OnTrial | None = None,
    progress: Progress | None = None,
) -> StoredRun:
    """Search for the best merge, pick the winner on fit and validation, and test it once.

    Scores are stored as they are computed. After an interrupt, ``resume`` continues.

    Args:
        config: a run.yaml, or its content.
        run: the run folder to create. Default: ``runs/NAME``.
        folder: base folder for relative paths. Default: the folder of the file, or the current
            folder.
        seed: seed of the search; overrides the config.
        data: items of the task, as a list of dicts or a data frame. They are written to
            ``RUN-inputs/items.jsonl``.
        grader: a function (answer, item) that returns a score from 0 to 1; its source is written to
            ``RUN-inputs/grader.py``. Or the name of a grader.
        on_trial: is called with each model that was scored on fit: a dict with search, trial, name, fit (its
            mean score), items and failure.

    Raises:
        KingyoError: settings, models or data are invalid, and nothing is written; or a baseline cannot be
            scored.
        KeyboardInterrupt: the user interrupted the run; the message states how to continue.

    Example:
        >>> run = kingyo.evolve("run.yaml", "runs/first")  # doctest: +SKIP
        >>> kingyo.summarize(run).winner.test  # doctest: +SKIP
    """
    if isinstance(config, Mapping):
        given, file, home = dict(config), None, Path()
    else:
        file = as_path("config", config, "a mapping")
        given, home = {"name": name_from_path(file), **read_yaml(file)}, file.parent
    root = home if folder is None else as_path("folder", folder)
    if seed is not None:
        given["seed"] = seed
    name = str(given.get("name", "run"))  # a wrong one is reported with the other mistakes
    plain = name if re.fullmatch(r"\w[\w.-]*", name) else "run"
    out = (Path("runs") / plain if run is None else as_path("run", run)).absolute()
    shown, where = progress or SILENT, "config" if file is None else str(file)
    inputs, is_new = Path(f"{out}-inputs"), False
    try:
        if data is not None or grader is not None:
            require_new(out)
            is_new = not inputs.exists()
            given["task"] = with_inputs(_task(given), data, grader, inputs)
        run_yaml = NewRun.of(given, root, file if root == home else None, where)
        require_new(out)
        new = run_yaml.begin(out, shown)
    except BaseException:
        if is_new and not (out / DATABASE).exists():
            shutil.rmtree(inputs, ignore_errors=True)
        raise
    with new:
        run_to_end(new.begun, new, shown, on_trial)
    return StoredRun(folder=out)


def _task(config: Mapping[str, object]) -> Mapping[str, object]:
    task = config.get("task", {})
    if isinstance(task, str):
        return {"file": task}
    if isinstance(task, dict) and "tasks" not in config:
        return cast("dict[str, object]", task)
    received = "several tasks" if "tasks" in config else f"task: {task!r:.80}"
    remedy = "Write data and grader of each task into the config."
    raise KingyoError("data", "a config with one task, when items or a grader are passed", received, remedy)


def resume(
    run: AnyRun,
    *,
    more: Mapping[str, float] | None = None,
    rescore: bool = False,
    accept_changes: bool = False,
    on_trial: OnTrial | None = None,
    progress: Progress | None = None,
) -> StoredRun:
    """Continue an interrupted run, or extend the budget of a run.

    The winner is the same as without the interrupt.

    Args:
        run: a run, or its folder.
        more: is added to the budget, such as ``{"candidates": 60}``, even if the run has finished.
        rescore: score all candidates again with the current code and versions. The old scores are saved in
            a file.
        accept_changes: continue with changed code or versions.
        on_trial: see ``evolve``.

    Raises:
        KingyoError: there is no such run, another process uses it, it has no such budget, or models, code or
            versions have changed.
    """
    shown, changes = progress or SILENT, {"rescore": rescore, "accept_changes": accept_changes}
    return _continue(run, lambda store: renew(store, more or {}, shown.say, **changes), "", shown, on_trial)


def tune(
    run: AnyRun,
    *,
    keep: AnyPath | None = None,
    limit: float | None = None,
    progress: Progress | None = None,
) -> StoredRun:
    """Train a LoRA on the bred model of a finished run, and the same on the best parent.

    It needs the extra ``lora``. After an interrupt, call it again to continue. ``summarize(run).tuning`` has
    the results.

    Args:
        run: a run, or its folder.
        keep: a task file, or items of the run's task, that the tuned model must still solve.
        limit: a model that loses more points there is not chosen. Default: 2.

    Raises:
        KingyoError: there is no such run, it is unfinished, cannot be tuned, or is tuned with other settings.
    """
    kept = None if keep is None else as_path("keep", keep)
    done = "This run is already tuned."
    return _continue(run, lambda store: add_tuning(store, kept, limit), done, progress or SILENT)


def control(run: AnyRun, name: str, *, progress: Progress | None = None) -> StoredRun:
    """Add a control to a finished run: a search of the same cost to compare the winner with.

    ``name`` is ``random``, ``grid``, or ``trained`` (a LoRA trained on fit); ``summarize(run).controls`` then
    has its result.

    Raises:
        KingyoError: there is no such run, it is unfinished, or has no such control.
    """
    done = f"The control {name} of this run is already done."
    return _continue(run, lambda store: add_control(store, name), done, progress or SILENT)


def _continue(
    run: AnyRun,
    prepare: Callable[[RunStore], bool],
    done: str,
    progress: Progress,
    on_trial: OnTrial | None = None,
) -> StoredRun:
    """Run to the end what ``prepare`` adds to a run; if it returns False, say ``done``."""
    with RunStore.open(run_folder(run)) as store:
        if prepare(store):
            run_to_end(store, None, progress, on_trial)
        else:
            progress.say(done)
    return StoredRun(folder=store.folder)


def run_to_end(store: RunStore, run: Run | None, progress: Progress, on_trial: OnTrial | None = None) -> None:
    """Run to the end.

    Args:
        store: the run, open for writing.
        run: the opened run of the store; None opens it.
        progress: sees what the run does; not what a finished run would do again.
        on_trial: see ``evolve``.

    Raises:
        KingyoError: the run cannot continue. Budget or a control that was added last is removed again.
        KeyboardInterrupt: with a message, see ``evolve``.
    """

    def notify(event: Event) -> None:
        progress.notify(event)
        if on_trial is not None and event.kind == "ended" and event.split == "fit" and not event.replayed:
            on_trial(_row(event))

    is_done = is_complete(store)
    try:
        if not is_done:
            progress.begin(store)
        with kept_if_used(store):
            opened = Run.stored(store) if run is None else run
            if is_choosing(store):
                opened = choose(opened, progress)
            if is_done:
                require_same_code(opened)
                return
            journey = journey_of(opened, notify)
            progress.expect(remaining_cost(journey))
            journey.run()
    except KeyboardInterrupt:
        call = f"kingyo.resume({str(store.folder)!r})"
        raise KeyboardInterrupt(f"all scores so far are stored; continue with {call}") from None


def choose(run: Run, progress: Progress) -> Run:
    """Choose the sources of a run, and return the run with them."""
    require_same_code(run)
    progress.expect(choice_cost(run))
    return make_choice(run, progress.notify)


def _row(event: Event) -> dict[str, object]:
    trial, evaluation = event.trial, event.evaluation
    assert trial is not None and evaluation is not None, "events of scored trials have both"
    scores = [each.score for each in evaluation.scores]
    return {
        "search": trial.search,
        "trial": trial.asked.number,
        "name": trial.name,
        "fit": sum(scores) / len(scores) if scores else None,
        "items": len(scores),
        "failure": evaluation.failure,
    }

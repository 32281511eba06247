"""List models that can be merged, and find the candidates of a run that chooses its sources among them."""

import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from kingyo.api.options import AnyPath, as_path, as_reference
from kingyo.api.progress import SILENT, Progress
from kingyo.core.io.units import counted
from kingyo.errors import KingyoError
from kingyo.runs.begin import choose_again
from kingyo.runs.choice import REQUEST
from kingyo.runs.run import Run
from kingyo.scout import Catalogue, catalogue, find_places, with_structures
from kingyo.scout.for_task import MOST_BYTES, ScoutRequest, TaskCandidates
from kingyo.search.evolution import BASELINES
from kingyo.store import DATABASE, RunStore
from kingyo.store.side_databases import EvidenceStore
from kingyo.tasks import build_tasks, load_splits, load_task_spec


def scout_models(
    where: AnyPath | Sequence[AnyPath],
    *,
    base: AnyPath | None = None,
    out: AnyPath | None = None,
    progress: Progress | None = None,
    allow_pickle: bool = False,
) -> Catalogue:
    """List models, and tell which can be merged together and why the others cannot.

    Args:
        where: folders with models, names on the Hub, and its tags, as ``hub:base_model:finetune:org/name``.
        base: the only base. Default: each that a candidate names.
        out: the folder that keeps what is measured of the weights: at most 20 GB of each group are read.
            Default: only headers and cards are read.
        progress: sees the bytes that are read.
        allow_pickle: whether to read local weights that exist only as pickles.

    Raises:
        KingyoError: a name is none, or the base or the weights cannot be read.
    """
    several = where if isinstance(where, Sequence) and not isinstance(where, str) else [where]
    named = [as_reference("where", each) for each in several]
    like, count = None if base is None else as_reference("base", base), (progress or SILENT).count
    found = catalogue(find_places(named), like, allow_pickle=allow_pickle)
    if out is None:
        return found
    with EvidenceStore(as_path("out", out)) as store:
        measured = partial(with_structures, found, store, MOST_BYTES, allow_pickle=allow_pickle)
        return measured(lambda done, total: count("measuring", done, total))


def plan_choice(found: Catalogue, request: ScoutRequest, progress: Progress) -> TaskCandidates:
    """Check the task and the limits of a choice before weights are read; note the groups not tried."""
    candidates = TaskCandidates.planned(found, request)
    others = [
        f"--base {shlex.quote(group.base)} ({len(group.members)})"
        for group in found.groups
        if group.base not in (None, candidates.group.base) and len(group.members) > 1
    ]
    if others:
        n, base = counted(len(candidates.group.members), "candidate"), candidates.group.base
        text = f"Note: groups cannot be mixed. The choice is among the {n} of the largest, for {base}."
        progress.say(f"{text} For another group: {', '.join(others)}.")
    return candidates


def find_candidates(
    request: ScoutRequest, progress: Progress, show: Callable[[Catalogue], None] | None = None
) -> TaskCandidates:
    """Read, check and measure the candidates of a run that chooses its sources.

    Args:
        request: what the run.yaml asks for.
        progress: sees how many are read, and the bytes that are measured.
        show: gets the catalogue when headers are read, and again when weights are measured. Default:
            progress gets a sentence.

    Raises:
        KingyoError: there are not enough candidates, or the task or a limit does not suit them.
    """
    progress.say(f"Choosing sources; what is measured is kept in {request.out}.")
    found = request.read(progress.count)
    if show is not None:
        show(found)
    plan_choice(found, request, progress)
    if show is None:
        progress.say(found.in_words)
    measured = request.measure(found, progress.count)
    if show is not None:
        show(measured)
    return TaskCandidates.open(measured, request)


def begin_choice(candidates: TaskCandidates) -> Run:
    """Begin a run that chooses its sources, or open the one in its folder, which must be asked the same.

    A larger budget continues a choice, as long as the search has not begun.

    Raises:
        KingyoError: the folder has another run.
    """
    out, asked = candidates.request.out, candidates.choice_request()
    if not (out / DATABASE).exists():
        return candidates.begin(out)
    with ExitStack() as stack:
        store = stack.enter_context(RunStore.open(out))
        stored = store.fact(REQUEST)
        budget = {"item_evaluations": asked.item_evaluations, "seconds": asked.seconds}
        is_same = stored is not None and replace(stored, asked=asked.asked, **budget) == asked
        if not is_same or (stored != asked and BASELINES in store.searches()):
            expected = "a run that chooses among the same candidates, within the same limits"
            raise KingyoError(str(out), expected, "another one", "Choose another folder with --out.")
        if stored != asked:
            choose_again(candidates.run, store, asked)
        run = Run.stored(store)
        stack.pop_all()
        return run


def check_task(file: Path) -> None:
    """Read the data of a task and build its graders; an error names the file."""
    spec = load_task_spec(file)
    try:
        build_tasks({spec.name: spec}, load_splits({spec.name: spec}, Path()).splits, Path())
    except KingyoError as error:
        raise error.placed(str(file)) from error

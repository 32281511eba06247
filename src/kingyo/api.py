"""The public Python API: each function does what the command of that name does."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

from kingyo.cli.live import LiveDisplay, run_shown
from kingyo.cli.progress import MergeProgress
from kingyo.documents import read_yaml
from kingyo.engine import MergeOptions
from kingyo.export import choose, export
from kingyo.merging import Request, finish, survey, write
from kingyo.recipe import NamedRecipe, Recipe, RecipeBook
from kingyo.report import write_report as write_report_of
from kingyo.results.summary import RunSummary
from kingyo.results.summary import summarize as summarize_store
from kingyo.run.begin import begin
from kingyo.run.config import config_of, named_after
from kingyo.run.journeys import require_unchanged
from kingyo.run.run import Run
from kingyo.sizes import parse_size
from kingyo.store import RunStore

AnyPath = str | Path
AnyRecipe = str | Path | Mapping[str, object] | Recipe


class MergeKeywords(TypedDict, total=False):
    """Options of ``merge``; see ``kingyo.engine.MergeOptions``."""

    seed: int
    threads: int
    force: bool
    allow_nonfinite: bool
    copy_code: bool
    ignore_licences: bool
    component: str
    pipeline: bool
    allow_pickle: bool


def merge(
    recipe: AnyRecipe,
    out: AnyPath,
    *,
    folder: AnyPath | None = None,
    max_shard_size: str = "5GB",
    progress: bool = True,
    **options: Unpack[MergeKeywords],
) -> Path:
    """Merge models by a recipe into a folder that transformers or diffusers loads.

    Interrupted, the same call goes on. Whatever is doubtful about the models is a ``UserWarning``.

    Args:
        recipe: a file of one or several recipes, as mergekit writes them; its content as a mapping; or a
            ``Recipe``.
        out: the folder to make. Several recipes make a folder each below it.
        folder: where relative paths of the recipe begin; the file's folder, or the current one, when None.
        max_shard_size: where a new file of weights begins.
        progress: whether a bar on standard error shows how far it is.
        options: see ``kingyo.engine.MergeOptions``.

    Returns:
        ``out``.

    Raises:
        KingyoError: whatever is wrong with the recipe, the models or ``out``; nothing is written then.

    Example:
        >>> kingyo.merge("recipe.yaml", "merged", seed=1)  # doctest: +SKIP
        PosixPath('merged')
    """
    request = Request(
        recipe=_recipe(recipe),
        out=Path(out),
        folder=None if folder is None else Path(folder),
        options=MergeOptions(max_shard_bytes=parse_size(max_shard_size, "max_shard_size"), **options),
    )
    found = survey(request, fetch=False)
    if found.error is None and found.n_missing:  # weights are fetched once nothing is wrong
        found = survey(request)
    if found.error is not None:
        raise found.error
    for finding in found.of("warning"):
        warnings.warn(str(finding.error), stacklevel=2)
    for target in found.targets:
        with MergeProgress(target.out.name, quiet=not progress) as watch:
            write(found, target, watch)
    finish(found)
    return request.out


def _recipe(given: AnyRecipe) -> Path | RecipeBook:
    if isinstance(given, str | Path):
        return Path(given)
    recipe = given if isinstance(given, Recipe) else Recipe.from_dict(given, "recipe")
    return RecipeBook(steps=(NamedRecipe(name=None, recipe=recipe),))


def evolve(
    config: AnyPath | Mapping[str, object],
    run: AnyPath | None = None,
    *,
    folder: AnyPath | None = None,
    seed: int | None = None,
    progress: bool = True,
) -> Run:
    """Breed a model: search for the best merge, pick the winner on fit and validation, test it once.

    Every score is stored at once: after an interrupt ``resume`` goes on.

    Args:
        config: a run.yaml, or its content.
        run: the run folder to make; ``runs/NAME`` when None.
        folder: where relative paths begin; the file's folder, or the current one, when None.
        seed: of the search, in place of the file's.
        progress: whether standard error shows how the search goes.

    Returns:
        The run at its end; its store is open for reading.

    Raises:
        KingyoError: whatever is wrong with settings, models or data, and nothing is written then; or a
            baseline cannot be scored.

    Example:
        >>> run = kingyo.evolve("run.yaml", "runs/first")  # doctest: +SKIP
        >>> kingyo.summarize(run).winner.test  # doctest: +SKIP
    """
    if isinstance(config, Mapping):
        data, file, home = config, None, Path()
    else:
        file = Path(config)
        data, home = {"name": named_after(file), **read_yaml(file)}, file.parent
    root = home if folder is None else Path(folder)
    given = data if seed is None else {**data, "seed": seed}
    loaded = config_of(given, root, "config" if file is None else str(file))
    out = Path("runs") / loaded.name if run is None else Path(run)
    new = begin(Run.open(loaded, root), out, file=file if root == home else None)
    return _to_the_end(new.begun, new, progress=progress)


def resume(run: AnyPath, *, progress: bool = True) -> Run:
    """Go on with a run that was interrupted, to the same winner.

    Args:
        run: its folder.
        progress: whether standard error shows how the search goes.

    Returns:
        The run at its end; its store is open for reading.

    Raises:
        KingyoError: no run, one that another process works on, or models, code or versions have changed.
    """
    store = RunStore.open(Path(run))
    try:
        require_unchanged(store)
    except BaseException:
        store.close()
        raise
    return _to_the_end(store, None, progress=progress)


def _to_the_end(store: RunStore, run: Run | None, *, progress: bool) -> Run:
    with store, LiveDisplay(store, quiet=not progress) as display:
        ended = run_shown(store, run, display)
    return replace(ended, store=RunStore.read(store.folder))


def summarize(run: Run | AnyPath) -> RunSummary:
    """Return what is known of a run: winner, baselines, controls and comparisons, with n and intervals.

    Args:
        run: a run, or its folder; finished, under way or interrupted.

    Raises:
        KingyoError: no such run.
    """
    with _read(run) as store:
        return summarize_store(store)


def export_model(
    run: Run | AnyPath,
    out: AnyPath,
    *,
    trial: int | str | None = None,
    search: str | None = None,
    pick: int | str | None = None,
    pipeline: bool = True,
) -> Path:
    """Write the best model of a run as a Hugging Face folder with its recipe and model card.

    Args:
        run: a run, or its folder.
        out: the folder to make.
        trial: one trial, such as 12, ``"random:12"`` or the name of a baseline.
        search: the winner of one search: ``"main"``, ``"random"``, ``"grid"``, ``"trained"``.
        pick: ``"knee"`` or the number of a trial on the front, of a run with several objectives.
        pipeline: whether to copy the rest of a diffusers pipeline around the merged component.

    Returns:
        ``out``.

    Raises:
        KingyoError: more than one of ``trial``, ``search`` and ``pick``, no winner yet, no such trial, or
            ``out`` is taken.
    """
    with _read(run) as store:
        chosen = choose(store, trial=_text(trial), search=search, pick=_text(pick))
        return export(store, Path(out), chosen, pipeline=pipeline)


def write_report(run: Run | AnyPath, out: AnyPath | None = None) -> Path:
    """Write the report of a run: one HTML file that needs no network, and pictures.

    Args:
        run: a run, or its folder.
        out: the file; ``report.html`` in the run's folder when None.

    Returns:
        The file.

    Raises:
        KingyoError: the extra ``report`` is not installed, or the file cannot be written.
    """
    with _read(run) as store:
        return write_report_of(store, None if out is None else Path(out))


def _text(value: int | str | None) -> str | None:
    return None if value is None else str(value)


@contextmanager
def _read(run: Run | AnyPath) -> Generator[RunStore]:
    if isinstance(run, Run):
        yield run.begun
    else:
        with RunStore.read(Path(run)) as store:
            yield store

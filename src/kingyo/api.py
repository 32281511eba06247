"""The public Python API: the commands as functions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TypedDict, Unpack, cast

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints import open_checkpoint as open_model
from kingyo.cli.live_display import LiveDisplay, run_shown
from kingyo.cli.merge import check_and_fetch
from kingyo.cli.progress import MergeProgress
from kingyo.cli.run import require_one_run
from kingyo.engine import MergeOptions, rooted
from kingyo.engine.write import write
from kingyo.errors import KingyoError
from kingyo.export import choose, export
from kingyo.io.units import parse_size
from kingyo.io.yaml import read_yaml
from kingyo.recipe import NamedRecipe, Recipe, RecipeBook
from kingyo.recipe import load_recipe as read_recipe
from kingyo.results.summarize import summarize as summarize_store
from kingyo.results.summary import RunSummary
from kingyo.run.begin import begin
from kingyo.run.config_file import asks_scout, config_from_data, name_from_path
from kingyo.run.resume import add_tuning, require_unchanged
from kingyo.run.run import Run
from kingyo.scout import Catalogue, Rules, catalogue, find_places, with_structures
from kingyo.scout.for_task import MOST_BYTES, ScoutRequest, TaskCandidates, check_rest, require_alone
from kingyo.store import RunStore, require_new
from kingyo.store.evidence import EvidenceStore
from kingyo.views.page import write_report as write_report_of

AnyPath = str | Path
AnyRecipe = str | Path | Mapping[str, object] | Recipe
AnyRun = Run | str | Path


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
    single_file: bool
    allow_pickle: bool


class ExportKeywords(TypedDict, total=False):
    """Options of ``export_model``; see ``kingyo.export.export``."""

    pipeline: bool
    single_file: bool


class ScoutKeywords(TypedDict, total=False):
    """Options of ``scout_models``; see ``kingyo.scout.Rules``."""

    strict_licences: bool
    allow_pickle: bool


def merge(
    recipe: AnyRecipe,
    out: AnyPath,
    *,
    folder: AnyPath | None = None,
    max_shard_size: str | int = "5GB",
    progress: bool = True,
    **options: Unpack[MergeKeywords],
) -> Path:
    """Merge models according to a recipe into a folder that transformers or diffusers loads.

    Problems that do not prevent the merge are issued as ``UserWarning``.

    Args:
        recipe: a file with one or several recipes in mergekit's format, the content of such a file as a
            mapping, or a ``Recipe``.
        out: the folder to create. Several recipes create one subfolder each.
        folder: base folder for relative paths in the recipe. Default: the folder of the file, or
            the current folder.
        max_shard_size: maximum size of a weight file, such as "5GB" or a number of bytes.
        progress: whether to show a progress bar on standard error.
        options: see ``kingyo.engine.MergeOptions``.

    Returns:
        ``out``.

    Raises:
        KingyoError: the recipe, a model or ``out`` is invalid; nothing is written.

    Example:
        >>> kingyo.merge("recipe.yaml", "merged", seed=1)  # doctest: +SKIP
        PosixPath('merged')
    """
    preflight = check_and_fetch(
        _recipe(recipe),
        _path("out", out),
        MergeOptions(max_shard_bytes=parse_size(f"{max_shard_size}", "max_shard_size"), **options),
        None if folder is None else _path("folder", folder),
    )
    if preflight.error is not None:
        raise preflight.error
    for finding in preflight.of("warning"):
        warnings.warn(str(finding.error), stacklevel=2)
    for output in preflight.outputs:
        with MergeProgress(output.out.name, quiet=not progress) as watch:
            write(preflight, output, watch)
    return preflight.out


def _recipe(recipe: AnyRecipe) -> Path | RecipeBook:
    if not isinstance(recipe, Recipe | Mapping):
        return _path("recipe", recipe, "a mapping or a Recipe")
    parsed = recipe if isinstance(recipe, Recipe) else Recipe.from_dict(recipe, "recipe")
    return RecipeBook(steps=(NamedRecipe(name=None, recipe=parsed),))


def open_checkpoint(reference: AnyPath, *, allow_pickle: bool = False) -> Checkpoint:
    """Open a checkpoint without reading its weights.

    Args:
        reference: a folder, a Hub name, ``model+lora``, a component such as ``org/name/unet``, or a diffusion
            model in one ``.safetensors``.
        allow_pickle: whether to read weights that exist only as pickles. They are read with
            ``weights_only``.

    Raises:
        KingyoError: there is no such model, or its files are broken.
    """
    return open_model(_reference("reference", reference), allow_pickle=allow_pickle)


def scout_models(
    where: AnyPath | Sequence[AnyPath],
    *,
    base: AnyPath | None = None,
    hub: Sequence[str] = (),
    limit: int = 100,
    out: AnyPath | None = None,
    **options: Unpack[ScoutKeywords],
) -> Catalogue:
    """List models, and tell which can be merged together and why the others cannot.

    Args:
        where: folders with models, names on the Hub, and lists of them such as "@list.txt".
        base: the only base. Default: each that a candidate names.
        hub: also models of the Hub with these tags.
        limit: most models of each tag.
        out: the folder that keeps what is measured of the weights: at most 20 GB of each group are read.
            Default: only headers and cards are read.
        options: ``strict_licences``: whether to exclude models with an unknown licence; ``allow_pickle``:
            whether to read weights that exist only as pickles.

    Raises:
        KingyoError: a list, the base or the weights cannot be read.
    """
    several = where if isinstance(where, Sequence) and not isinstance(where, str) else [where]
    named = [_reference("where", each) for each in several]
    rules, like = Rules(**options), None if base is None else _reference("base", base)
    found = catalogue(find_places(named, hub, limit), like, rules)
    if out is None:
        return found
    with EvidenceStore(_path("out", out)) as store:
        return with_structures(found, store, MOST_BYTES, allow_pickle=rules.allow_pickle)


def load_recipe(path: AnyPath) -> Recipe:
    """Read a recipe from a YAML file. Relative paths of local models become absolute.

    Args:
        path: a file with one recipe.

    Raises:
        KingyoError: the file cannot be read, or its recipe is invalid.
    """
    file = _path("path", path)
    return rooted(read_recipe(file), file.parent.resolve())


def evolve(
    config: AnyPath | Mapping[str, object],
    run: AnyPath | None = None,
    *,
    folder: AnyPath | None = None,
    seed: int | None = None,
    progress: bool = True,
) -> Run:
    """Search for the best merge, pick the winner on fit and validation, and test it once.

    Scores are stored as they are computed. After an interrupt, ``resume`` continues.

    Args:
        config: a run.yaml, or its content.
        run: the run folder to create. Default: ``runs/NAME``.
        folder: base folder for relative paths. Default: the folder of the file, or the current
            folder.
        seed: seed of the search; overrides the config.
        progress: whether to show progress on standard error.

    Returns:
        The finished run. Its store is open for reading.

    Raises:
        KingyoError: settings, models or data are invalid, and nothing is written; or a baseline cannot be
            scored.
        KeyboardInterrupt: the user interrupted the run; the message states how to continue.

    Example:
        >>> run = kingyo.evolve("run.yaml", "runs/first")  # doctest: +SKIP
        >>> kingyo.summarize(run).winner.test  # doctest: +SKIP
    """
    if isinstance(config, Mapping):
        data, file, home = config, None, Path()
    else:
        file = _path("config", config, "a mapping")
        data, home = {"name": name_from_path(file), **read_yaml(file)}, file.parent
    root = home if folder is None else _path("folder", folder)
    seeded = data if seed is None else {**data, "seed": seed}
    given = None if run is None else _path("run", run)
    where = "config" if file is None else str(file)
    if isinstance(sources := data.get("sources"), dict):
        require_alone(cast("dict[str, object]", sources), root)
    out = (given or Path("runs") / str(seeded.get("name", "run"))).absolute()
    if asks_scout(seeded):
        check_rest(seeded, root, where)
        require_new(out)
        new = _candidates(ScoutRequest.of(seeded, root, out)).begin(out, file=file if root == home else None)
    else:
        settings = config_from_data(seeded, root, where)
        new = begin(Run.open(settings, root), out, file=file if root == home else None)
    return _finish(new.begun, new, progress=progress)


def _candidates(request: ScoutRequest) -> TaskCandidates:
    found = request.read(_ignore, lambda text: warnings.warn(text, stacklevel=4))
    TaskCandidates.planned(found, request)
    return TaskCandidates.open(request.measure(found, _ignore), request)


def _ignore(_what: str, _done: int, _total: int) -> None:
    """Ignore progress."""


def resume(run: AnyRun, *, progress: bool = True) -> Run:
    """Continue an interrupted run. The winner is the same as without the interrupt.

    Args:
        run: a run, or its folder.
        progress: whether to show progress on standard error.

    Returns:
        The finished run. Its store is open for reading.

    Raises:
        KingyoError: there is no such run, another process uses it, or models, code or versions have changed.
    """
    return _continue(run, require_unchanged, progress=progress)


def tune(
    run: AnyRun, *, keep: AnyPath | None = None, limit: float | None = None, progress: bool = True
) -> Run:
    """Train a LoRA on the bred model of a finished run, and the same on the best parent.

    It needs the extra ``lora``. After an interrupt, call it again to continue.

    Args:
        run: a run, or its folder.
        keep: a task file, or items of the run's task, that the tuned model must still solve.
        limit: a model that loses more points there is not chosen. Default: 2.
        progress: whether to show progress on standard error.

    Returns:
        The tuned run; ``summarize(run).tuning`` has the results. Its store is open for reading.

    Raises:
        KingyoError: there is no such run, it is unfinished, cannot be tuned, or is tuned with other settings.
    """
    kept = None if keep is None else _path("keep", keep)
    return _continue(run, lambda store: add_tuning(store, kept, limit), progress=progress)


def _continue(run: AnyRun, prepare: Callable[[RunStore], object], *, progress: bool) -> Run:
    store = RunStore.open(_folder(run))
    try:
        prepare(store)
    except BaseException:
        store.close()
        raise
    return _finish(store, None, progress=progress)


def _finish(store: RunStore, run: Run | None, *, progress: bool) -> Run:
    with store, LiveDisplay(store, quiet=not progress) as display:
        try:
            finished = run_shown(store, run, display)
        except KeyboardInterrupt:
            call = f"kingyo.resume({str(store.folder)!r})"
            raise KeyboardInterrupt(f"all scores so far are stored; continue with {call}") from None
    return replace(finished, store=RunStore.read(store.folder))


def summarize(run: AnyRun) -> RunSummary:
    """Return the results of a run: winner, baselines, controls and comparisons, with n and intervals.

    Args:
        run: a run, or its folder. It need not be finished.
    """
    with RunStore.read(_folder(run)) as store:
        return summarize_store(store)


def export_model(
    run: AnyRun,
    out: AnyPath,
    *,
    trial: int | str | None = None,
    search: str | None = None,
    pick: int | str | None = None,
    **options: Unpack[ExportKeywords],
) -> Path:
    """Write the best model of a run as a Hugging Face folder with its recipe and model card.

    Args:
        run: a run, or its folder.
        out: the folder to create.
        trial: export one trial, such as 12, ``"random:12"`` or the name of a baseline.
        search: export the winner of one search: ``"main"``, ``"random"``, ``"grid"``, ``"trained"`` or
            ``"tuned"``.
        pick: in a run with several objectives, export ``"knee"`` or the number of a trial on the front.
        options: ``pipeline``: whether to copy the rest of a diffusers pipeline around the merged component
            (default True); ``single_file``: whether to write a diffusion model also as one file.

    Returns:
        ``out``.

    Raises:
        KingyoError: more than one of ``trial``, ``search`` and ``pick`` is given, there is no winner yet or
            no such trial, or ``out`` exists.
    """
    folder = _path("out", out)
    with RunStore.read(_folder(run)) as store:
        chosen = choose(store, trial=_text(trial), search=_text(search), pick=_text(pick))
        return export(store, folder, chosen, **options)


def write_report(run: AnyRun, out: AnyPath | None = None) -> Path:
    """Write the report of a run: an HTML file that works offline, and its charts as images.

    Args:
        run: a run, or its folder.
        out: the HTML file. Default: ``report.html`` in the run folder.

    Returns:
        The HTML file.

    Raises:
        KingyoError: the extra ``report`` is not installed, or the file cannot be written.
    """
    file = None if out is None else _path("out", out)
    with RunStore.read(_folder(run)) as store:
        return write_report_of(store, file)


def _text(value: int | str | None) -> str | None:
    return None if value is None else str(value)


def _folder(run: Run | str | Path) -> Path:
    """Return the absolute folder of a run, whose store may be closed."""
    if isinstance(run, Run):
        return run.begun.folder
    folder = _path("run", run, "a Run")
    require_one_run(folder)
    return folder.absolute()


def _path(argument: str, value: object, others: str = "") -> Path:
    """Return an argument as a path; ``others`` names what else it may be, for the error."""
    if isinstance(value, str | PathLike):
        return Path(cast("str | PathLike[str]", value))
    expected = f"a path, {others}" if others else "a path"
    remedy = f"Pass {expected}; a path is a str or a pathlib.Path."
    raise KingyoError(argument, expected=expected, received=f"{value!r:.80}", remedy=remedy)


def _reference(argument: str, value: object) -> str:
    """Return an argument as a reference to a model, as it was written."""
    return value if isinstance(value, str) else str(_path(argument, value))

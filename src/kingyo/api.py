"""The public Python API: each function does what the command of that name does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, InstanceOf, ValidationError, create_model, validate_call

from kingyo.checkpoints import Checkpoint
from kingyo.checkpoints import open_checkpoint as open_model
from kingyo.cli.live_display import LiveDisplay, run_shown
from kingyo.cli.progress import MergeProgress
from kingyo.engine import MergeOptions, rooted
from kingyo.engine.options import MergeRequest
from kingyo.engine.preflight import check_merge
from kingyo.engine.write import finish, write
from kingyo.errors import KingyoError, unknown
from kingyo.export import choose, export
from kingyo.io.schema import expected_words
from kingyo.io.units import parse_size
from kingyo.io.yaml import read_yaml
from kingyo.recipe import NamedRecipe, Recipe, RecipeBook
from kingyo.recipe import load_recipe as read_recipe
from kingyo.report import write_report as write_report_of
from kingyo.results.summary import RunSummary
from kingyo.results.summary import summarize as summarize_store
from kingyo.run.begin import begin
from kingyo.run.config import config_of, named_after
from kingyo.run.resume import require_unchanged
from kingyo.run.run import Run
from kingyo.store import RunStore

AnyPath = str | Path
AnyRecipe = str | Path | Mapping[str, object] | InstanceOf[Recipe]
AnyRun = InstanceOf[Run] | str | Path

P = ParamSpec("P")
R = TypeVar("R")


def _checked(function: Callable[P, R]) -> Callable[P, R]:
    """Raise a KingyoError for an argument of a wrong type."""
    check = validate_call(config=ConfigDict(strict=True))(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return check(*args, **kwargs)
        except ValidationError as error:
            if error.title != function.__name__:
                raise
            raise _wrong_type(function.__name__, list(signature(function).parameters), error) from None

    return call


_MERGE_FIELDS: dict[str, Any] = {
    each.name: (get_type_hints(MergeOptions)[each.name], each.default)
    for each in fields(MergeOptions)
    if each.name != "max_shard_bytes"
}
_MergeKeywords: type[BaseModel] = create_model(
    "merge", __config__=ConfigDict(extra="forbid", strict=True), **_MERGE_FIELDS
)
"""The keyword arguments of ``merge`` that are fields of ``MergeOptions``."""


def _wrong_type(function: str, parameters: Sequence[str], error: ValidationError) -> KingyoError:
    first, *others = error.errors()
    place = first["loc"][0]
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        options = _MERGE_FIELDS if function == merge.__name__ else ()
        return unknown(f"kingyo.{function}", str(place), [*parameters, *options])
    is_missing = first["type"].startswith("missing")
    same = [each for each in others if each["loc"][:1] == (place,)]  # one for each accepted type
    return KingyoError(
        parameters[place] if isinstance(place, int) else place,
        expected="a value" if is_missing else " or ".join(dict.fromkeys(map(expected_words, (first, *same)))),
        received="nothing" if is_missing else repr(first["input"])[:80],
        remedy=f"See help(kingyo.{function}).",
    )


@_checked
def merge(
    recipe: AnyRecipe,
    out: AnyPath,
    *,
    folder: AnyPath | None = None,
    max_shard_size: str | int = "5GB",
    progress: bool = True,
    **options: Any,
) -> Path:
    """Merge models by a recipe into a folder that transformers or diffusers loads.

    After an interrupt the same call continues. Doubts about the models are warnings (``UserWarning``).

    Args:
        recipe: a file of one or several recipes in mergekit's format; its content as a mapping; or a
            ``Recipe``.
        out: the folder to make. Each of several recipes makes a subfolder.
        folder: base of the recipe's relative paths; None: the folder of the file, or the working directory.
        max_shard_size: the largest size of a weight file, such as ``"5GB"``; a number is bytes.
        progress: whether to show a progress bar on standard error.
        options: fields of ``kingyo.engine.MergeOptions``, such as ``seed``, ``threads`` or ``force``.

    Returns:
        ``out``.

    Raises:
        KingyoError: a mistake in the recipe, the models or ``out``; nothing is written.

    Example:
        >>> kingyo.merge("recipe.yaml", "merged", seed=1)  # doctest: +SKIP
        PosixPath('merged')
    """
    request = MergeRequest(
        recipe=_recipe(recipe),
        out=Path(out),
        folder=None if folder is None else Path(folder),
        options=_merge_options(options, max_shard_bytes=parse_size(f"{max_shard_size}", "max_shard_size")),
    )
    found = check_merge(request, fetch=False)
    if found.error is None and found.n_missing:  # weights are fetched once nothing is wrong
        found = check_merge(request)
    if found.error is not None:
        raise found.error
    for finding in found.of("warning"):
        warnings.warn(str(finding.error), stacklevel=2)
    for target in found.targets:
        with MergeProgress(target.out.name, quiet=not progress) as watch:
            write(found, target, watch)
    finish(found)
    return request.out


def _merge_options(keywords: Mapping[str, Any], max_shard_bytes: int) -> MergeOptions:
    given = _MergeKeywords.model_validate(keywords).model_dump()
    return MergeOptions(max_shard_bytes=max_shard_bytes, **given)


def _recipe(given: AnyRecipe) -> Path | RecipeBook:
    if isinstance(given, str | Path):
        return Path(given)
    recipe = given if isinstance(given, Recipe) else Recipe.from_dict(given, "recipe")
    return RecipeBook(steps=(NamedRecipe(name=None, recipe=recipe),))


@_checked
def open_checkpoint(reference: AnyPath, *, allow_pickle: bool = False) -> Checkpoint:
    """Open a checkpoint: a folder, a Hub name, ``model+lora``, or a component such as ``org/name/unet``.

    This reads headers, not weights.

    Args:
        reference: which one.
        allow_pickle: read weights that exist only as pickles, with ``weights_only``.

    Raises:
        KingyoError: there is no such model, or its files are broken.
    """
    return open_model(str(reference), allow_pickle=allow_pickle)


@_checked
def load_recipe(path: AnyPath) -> Recipe:
    """Read a recipe from a YAML file, with relative paths of local models made absolute.

    Args:
        path: a file of one recipe.

    Raises:
        KingyoError: the file cannot be read, or is no sound recipe.
    """
    return rooted(read_recipe(path), Path(path).parent.resolve())


@_checked
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
        KeyboardInterrupt: interrupted; its message says how to go on.

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
    out = (Path("runs") / loaded.name if run is None else Path(run)).absolute()
    new = begin(Run.open(loaded, root), out, file=file if root == home else None)
    return _to_the_end(new.begun, new, progress=progress)


@_checked
def resume(run: AnyRun, *, progress: bool = True) -> Run:
    """Go on with a run that was interrupted, to the same winner.

    Args:
        run: a run, or its folder.
        progress: whether standard error shows how the search goes.

    Returns:
        The run at its end; its store is open for reading.

    Raises:
        KingyoError: no run, one that another process works on, or models, code or versions have changed.
    """
    store = RunStore.open(_folder(run))
    try:
        require_unchanged(store)
    except BaseException:
        store.close()
        raise
    return _to_the_end(store, None, progress=progress)


def _to_the_end(store: RunStore, run: Run | None, *, progress: bool) -> Run:
    with store, LiveDisplay(store, quiet=not progress) as display:
        try:
            ended = run_shown(store, run, display)
        except KeyboardInterrupt:
            go_on = f"kingyo.resume({str(store.folder)!r})"
            raise KeyboardInterrupt(f"every score so far is stored; go on with {go_on}") from None
    return replace(ended, store=RunStore.read(store.folder))


@_checked
def summarize(run: AnyRun) -> RunSummary:
    """Return what is known of a run: winner, baselines, controls and comparisons, with n and intervals.

    Args:
        run: a run, or its folder; finished, under way or interrupted.

    Raises:
        KingyoError: no such run.
    """
    with RunStore.read(_folder(run)) as store:
        return summarize_store(store)


@_checked
def export_model(
    run: AnyRun,
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
    with RunStore.read(_folder(run)) as store:
        chosen = choose(store, trial=_text(trial), search=search, pick=_text(pick))
        return export(store, Path(out), chosen, pipeline=pipeline)


@_checked
def write_report(run: AnyRun, out: AnyPath | None = None) -> Path:
    """Write the report of a run: one HTML file that needs no network, and pictures.

    Args:
        run: a run, or its folder.
        out: the file; ``report.html`` in the run's folder when None.

    Returns:
        The file.

    Raises:
        KingyoError: the extra ``report`` is not installed, or the file cannot be written.
    """
    with RunStore.read(_folder(run)) as store:
        return write_report_of(store, None if out is None else Path(out))


def _text(value: int | str | None) -> str | None:
    return None if value is None else str(value)


def _folder(run: Run | str | Path) -> Path:
    """Return the folder of a run, whatever the current folder is now and whether its store is closed."""
    return run.begun.folder if isinstance(run, Run) else Path(run).absolute()

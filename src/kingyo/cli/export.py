"""The commands that write a model of a run: ``export`` its files, ``recipe`` its recipe."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.options import TRIALS, RunFolder, SingleFile
from kingyo.cli.run import require_one_run
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.recipe import RecipeBook
    from kingyo.store import RunStore, StoredTrial

TrialOption = Annotated[
    str | None, typer.Option("--trial", metavar="TRIAL", help=f"Export one trial: {TRIALS}.")
]
SearchOption = Annotated[
    str | None,
    typer.Option(
        "--search",
        metavar="SEARCH",
        help="Export the winner of a search: main, random, grid, trained or parameters.",
    ),
]
PickOption = Annotated[
    str | None,
    typer.Option("--pick", help="With several objectives: knee, or the number of a trial on the front."),
]
BestOption = Annotated[
    bool,
    typer.Option(
        "--best", help="Export the best of the bred model, the baselines and the controls (the default)."
    ),
]
PipelineOption = Annotated[
    bool,
    typer.Option(
        "--pipeline/--no-pipeline",
        help="For a merged component of a diffusers pipeline: write the full pipeline, or only the "
        "component.",
    ),
]


def export(
    run: RunFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to create.")],
    trial: TrialOption = None,
    search: SearchOption = None,
    pick: PickOption = None,
    best: BestOption = False,
    pipeline: PipelineOption = True,
    single_file: SingleFile = False,
) -> None:
    """Write the best model of a run as a Hugging Face folder with its recipe and model card.

    The default is the bred model, with two exceptions: a control's winner that
    is ahead of it by more than a standard error on fit and validation together,
    and the best baseline if the better of these is not ahead of it by as much.
    If both have the same score on every item, the baseline is not written.

    Example: `kingyo export runs/first my-model`
    """
    from kingyo.cli.advice import note_versions, warn_lost
    from kingyo.export import choose
    from kingyo.export import export as export_trial
    from kingyo.run.config import TRAININGS
    from kingyo.run.run import Run
    from kingyo.store import RunStore
    from kingyo.types import MEDIA, AnswersImages, GeneratesText

    require_one_run(run)
    with RunStore.read(run) as store:
        warn_lost(store)
        chosen = choose(store, trial=trial, search=search, pick=pick, best=best)
        folder = export_trial(store, out, chosen, pipeline=pipeline, single_file=single_file)
        note_versions(store, "exported")
        _print_choice(store, chosen, folder, is_default=trial is None and search is None)
        if search in TRAININGS and chosen.search != search:
            echo(f"--search {search}: no LoRA was chosen, so this is the model without one.")
        kind = Run.stored(store).kind
        if GeneratesText in kind.provides:
            shown = min(folder.glob(f"{MEDIA}/*"), default=None) if AnswersImages in kind.provides else None
            image = "" if shown is None else f" --image {shlex.quote(str(shown))}"
            echo(f"Try it: kingyo chat {shlex.quote(str(folder))}{image}")


def _print_choice(store: RunStore, chosen: StoredTrial, out: Path, *, is_default: bool) -> None:
    """Print which model was written, and why, if the default is not the bred model."""
    from kingyo.evolution import BASELINES, MAIN
    from kingyo.export.contact_sheet import FILE as SHEET
    from kingyo.results.model_result import MIXTURES
    from kingyo.results.side_by_side import contact_sheet
    from kingyo.results.summarize import summarize
    from kingyo.results.trials import describe_trial
    from kingyo.views.statements import ahead_on_test, beside_baselines, better_than_bred

    is_copy = chosen.search == BASELINES and chosen.name not in MIXTURES
    echo(f"Wrote {out}: {describe_trial(chosen)}{', a copy of it' if is_copy else ''}.")
    summary = summarize(store)
    if not (out / SHEET).exists() and contact_sheet(store, summary, MAIN) is not None:
        echo("Note: no contact sheet, because pictures of the run are missing or changed.", err=True)
    scores = beside_baselines(summary, chosen)
    if scores is not None:
        echo(scores)
    better = better_than_bred(summary) if is_default else None
    if better is not None and chosen.search != MAIN:
        echo(f"{better} `--search main` writes the bred model.")
    on_test = ahead_on_test(summary) if is_default else None
    if on_test is not None:
        echo(on_test)


class LayerForm(StrEnum):
    """The two ways to write the layers of a recipe."""

    path = "path"
    slices = "slices"


def recipe(
    file: Annotated[Path, typer.Argument(metavar="RECIPE.yaml|RUN", help="A recipe file or a run folder.")],
    form: Annotated[
        LayerForm | None,
        typer.Option(
            "--as",
            help="slices: write layer paths as slices of mergekit. path: write one-source slices as a path.",
        ),
    ] = None,
    trial: Annotated[
        str | None,
        typer.Option(
            "--trial",
            metavar="TRIAL",
            help=f"Trial of the run: {TRIALS}.  \\[default: the best model, as in `kingyo export`]",
        ),
    ] = None,
) -> None:
    """Print a recipe, or the recipe of the best model of a run, as YAML for `kingyo merge`.

    Example: `kingyo recipe runs/first > recipe.yaml`
    """
    from kingyo.recipe import rewritten

    book = _read_recipes(file, trial)
    if form is not None:
        book = rewritten(book, form.value)
    echo(book.to_yaml(), nl=False)


def _read_recipes(file: Path, trial: str | None) -> RecipeBook:
    from kingyo.recipe import NamedRecipe, RecipeBook, load_recipes

    if not file.is_dir():
        if trial is not None:
            raise KingyoError(
                "--trial", expected="a run folder", received=str(file), remedy="Leave --trial out."
            )
        return load_recipes(file)
    from kingyo.cli.advice import warn_lost
    from kingyo.export import choose, recipe_of
    from kingyo.store import RunStore

    with RunStore.read(file) as store:
        warn_lost(store)
        recipe = recipe_of(store, choose(store, trial=trial))
    return RecipeBook(steps=(NamedRecipe(name=None, recipe=recipe),))

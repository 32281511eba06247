"""The commands that read a run: ``show``, ``report``, ``export`` and ``recipe``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kingyo.cli.options import TRIALS, AsJson, RunFolder, declared
from kingyo.cli.output import echo, print_json
from kingyo.cli.run import note_versions, print_run, require_one_run, warn, warn_lost
from kingyo.errors import KingyoError, report_errors

if TYPE_CHECKING:
    from kingyo.api.results import ExportOptions
    from kingyo.store import RunStore, StoredTrial


def show(
    run: RunFolder,
    trial: Annotated[
        str | None,
        typer.Option(
            "--trial", metavar="TRIAL", help=f"Show the scores and the recipe of a trial: {TRIALS}."
        ),
    ] = None,
    answers: Annotated[
        int | None,
        typer.Option(
            "--answers", min=1, help="With --trial: show N answers of the trial on fit, the worst first."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the results of a run, with advice, even while it is running. For several seeds, show the spread.

    Example: `kingyo show runs/first --trial 3 --answers 5`
    """
    from kingyo.runs.seed_runs import seed_folders
    from kingyo.store import RunStore

    if answers is not None and trial is None:
        raise KingyoError("--answers", "--trial with it", "no --trial", "Add --trial, such as --trial 0.")
    if seed_folders(run) and trial is None:
        print_spread(run, as_json)
        return
    with RunStore.read(run) as store:
        if trial is None:
            print_run(store, as_json=as_json)
            return
        from kingyo.cli.tables import print_trial, read_trial

        warn_lost(store)
        details = read_trial(store, trial, answers)
        if as_json:
            print_json(details.to_json())
        else:
            print_trial(details)


def report(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option("--out", help="The HTML file to write.  \\[default: RUN/report.html]")
    ] = None,
) -> None:
    """Write the report of a run: an HTML file that works offline, and its charts as images.

    Example: `kingyo report runs/first`
    """
    from kingyo.store import RunStore
    from kingyo.store.side_databases import read_choices
    from kingyo.views.page import write_report

    require_one_run(run)
    with RunStore.read(run) as store:
        warn_lost(store)
        report_errors(lambda: read_choices(run), warn, ())
        echo(f"Wrote {write_report(store, out)}")


def print_spread(folder: Path, as_json: bool) -> None:
    """Print the spread over the runs of a folder."""
    from kingyo.views.results.seed_spread import read_seed_summary

    spread = read_seed_summary(folder)
    if as_json:
        print_json(spread.to_json())
        return
    for line in spread.sentences():
        echo(line)


@declared(
    "kingyo.api.results:ExportOptions",
    trial={"metavar": "TRIAL"},
    search={"metavar": "SEARCH"},
    pipeline={"names": ("--pipeline/--no-pipeline",)},
)
def export(
    options: ExportOptions,
    run: RunFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to create.")],
) -> None:
    """Write the best model of a run as a Hugging Face folder with its recipe and model card.

    The default is the bred model, with two exceptions: a control's winner that
    is ahead of it by more than a standard error on fit and validation together,
    and the best baseline if the better of these is not ahead of it by as much.
    If both have the same score on every item, the baseline is not written.

    Example: `kingyo export runs/first my-model`
    """
    from kingyo.core.types import MEDIA, AnswersImages, GeneratesText
    from kingyo.export import choose
    from kingyo.export import export as export_trial
    from kingyo.runs.config import TRAININGS
    from kingyo.runs.run import Run
    from kingyo.store import RunStore

    require_one_run(run)
    with RunStore.read(run) as store:
        warn_lost(store)
        search = options.search
        chosen = choose(store, trial=options.trial, search=search, pick=options.pick)
        how = {"pipeline": options.pipeline, "single_file": options.single_file}
        folder = export_trial(store, out, chosen, **how)
        note_versions(store, "exported")
        _print_choice(store, chosen, folder, is_default=options.trial is None and search is None)
        if search in TRAININGS and chosen.search != search:
            echo(f"--search {search}: no LoRA was chosen, so this is the model without one.")
        kind = Run.stored(store).kind
        if GeneratesText in kind.provides:
            shown = min(folder.glob(f"{MEDIA}/*"), default=None) if AnswersImages in kind.provides else None
            image = "" if shown is None else f" --image {shlex.quote(str(shown))}"
            echo(f"Try it: kingyo chat {shlex.quote(str(folder))}{image}")


def _print_choice(store: RunStore, chosen: StoredTrial, out: Path, *, is_default: bool) -> None:
    from kingyo.search.evolution import BASELINES, MAIN
    from kingyo.views.results.model_result import MIXTURES
    from kingyo.views.results.summary import summarize
    from kingyo.views.results.trials import describe_trial
    from kingyo.views.statements import beside_baselines, better_than_bred

    is_copy = chosen.search == BASELINES and chosen.name not in MIXTURES
    echo(f"Wrote {out}: {describe_trial(chosen)}{', a copy of it' if is_copy else ''}.")
    summary = summarize(store)
    scores = beside_baselines(summary, chosen)
    if scores is not None:
        echo(scores)
    better = better_than_bred(summary) if is_default else None
    if better is not None and chosen.search != MAIN:
        echo(f"{better} `--search main` writes the bred model.")


def recipe(
    file: Annotated[Path, typer.Argument(metavar="RECIPE.yaml|RUN", help="A recipe file or a run folder.")],
    form: Annotated[
        Literal["slices"] | None,
        typer.Option("--as", help="slices: write layer paths as slices of mergekit."),
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
    from kingyo.merging.recipe import NamedRecipe, RecipeBook, load_recipes, without_paths

    if file.is_dir():
        from kingyo.export import choose, recipe_of
        from kingyo.store import RunStore

        with RunStore.read(file) as store:
            warn_lost(store)
            chosen = recipe_of(store, choose(store, trial=trial))
        book = RecipeBook(steps=(NamedRecipe(name=None, recipe=chosen),))
    elif trial is not None:
        raise KingyoError("--trial", "a run folder", str(file), "Leave --trial out.")
    else:
        book = load_recipes(file)
    if form is not None:
        book = without_paths(book)
    echo(book.to_yaml(), nl=False)

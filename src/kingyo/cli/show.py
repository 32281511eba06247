"""The commands that read a run: ``show``, ``report``, ``export`` and ``recipe``."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kingyo.cli.options import Positive, as_flags, declared
from kingyo.cli.output import echo, print_json
from kingyo.cli.run import note_versions, opened, print_run
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.api.results import ExportOptions


def show(
    run: Path, *, trial: str | None = None, answers: Positive | None = None, as_json: bool = False
) -> None:
    """Show the results of a run, with advice, even while it is running. For several seeds, show the spread.

    Example: `kingyo show runs/first --trial 3 --answers 5`

    Args:
        trial (TRIAL): show the scores and the recipe of a trial: 12, random:12, parameters:12 (weight search
            of a hybrid run), or a baseline such as uniform.
        answers: with --trial: show this many answers of the trial on fit, the worst first.
    """
    from kingyo.runs.seed_runs import seed_folders

    if answers is not None and trial is None:
        raise KingyoError("--answers", "--trial with it", "no --trial", "Add --trial, such as --trial 0.")
    if seed_folders(run) and trial is None:
        print_spread(run, as_json)
        return
    with as_flags("trial"), opened(run) as own:
        if trial is None:
            print_run(own.store, as_json=as_json)
            return
        from kingyo.cli.tables import print_trial
        from kingyo.views.results.trial_details import read_trial

        details = read_trial(own.store, trial, answers)
        if as_json:
            print_json(details.to_json())
        else:
            print_trial(details)


def report(run: Path, *, out: Path | None = None) -> None:
    """Write the report of a run: an HTML file that works offline, and its charts as images.

    Example: `kingyo report runs/first`

    Args:
        out: the HTML file to write. Default: RUN/report.html.
    """
    from kingyo.api.results import write_report

    echo(f"Wrote {write_report(opened(run), out)}")


def print_spread(folder: Path, as_json: bool) -> None:
    from kingyo.views.results.seed_spread import read_seed_summary

    spread = read_seed_summary(folder)
    if as_json:
        print_json(spread.to_json())
        return
    for line in spread.sentences():
        echo(line)


@declared("kingyo.api.results:ExportOptions")
def export(options: ExportOptions, run: Path, out: Path) -> None:
    """Write the best model of a run as a Hugging Face folder with its recipe and model card.

    The default is the bred model, with two exceptions: a control's winner that
    is ahead of it by more than a standard error on fit and validation together,
    and the best baseline if the better of these is not ahead of it by as much.
    If both have the same score on every item, the baseline is not written.

    Example: `kingyo export runs/first my-model`

    Args:
        out: the folder to create.
    """
    from kingyo.api.results import export_model
    from kingyo.core.types import GeneratesText
    from kingyo.export import choose
    from kingyo.runs.run import Run
    from kingyo.search.evolution import BASELINES, MAIN
    from kingyo.views.results.model_result import MIXTURES
    from kingyo.views.results.summary import summarize
    from kingyo.views.results.trials import describe_trial
    from kingyo.views.statements import beside_baselines, better_than_bred

    with as_flags("trial", "search", "pick"), opened(run) as own:
        folder = export_model(own, out, **asdict(options))
        store = own.store
        note_versions(store, "exported")
        chosen = choose(store, trial=options.trial, search=options.search, pick=options.pick)
        summary = summarize(store)
        notes = [beside_baselines(summary, chosen)]
        if options.trial is None and options.search is None:
            notes.append(better_than_bred(summary) if chosen.search != MAIN else None)
        is_copy = chosen.search == BASELINES and chosen.name not in MIXTURES
        echo(f"Wrote {out}: {describe_trial(chosen)}{', a copy of it' if is_copy else ''}.")
        for note in filter(None, notes):
            echo(note)
        if chosen.search != MAIN and options.search is None:
            echo("`--search main` writes the bred model.")
        if GeneratesText in Run.stored(store).kind.provides:
            echo(f"Try it: kingyo chat {shlex.quote(str(folder))}")


def recipe(file: Path, *, form: Literal["slices"] | None = None, trial: str | None = None) -> None:
    """Print a recipe, or the recipe of the best model of a run, as YAML for `kingyo merge`.

    Example: `kingyo recipe runs/first > recipe.yaml`

    Args:
        file (RECIPE.yaml|RUN): a recipe file or a run folder.
        form: slices: write layer paths as slices of mergekit.
        trial (TRIAL): trial of the run, as for `kingyo show`. Default: the best model, as in `kingyo export`.
    """
    from kingyo.merging.recipe import NamedRecipe, RecipeBook, load_recipes, without_paths

    if file.is_dir():
        from kingyo.export import choose, recipe_of

        with as_flags("trial"), opened(file) as own:
            chosen = recipe_of(own.store, choose(own.store, trial=trial))
        book = RecipeBook(steps=(NamedRecipe(name=None, recipe=chosen),))
    elif trial is not None:
        raise KingyoError("--trial", "a run folder", str(file), "Leave --trial out.")
    else:
        book = load_recipes(file)
    if form is not None:
        book = without_paths(book)
    echo(book.to_yaml(), nl=False)

"""One trial of a run for people and programs: its scores, its recipe, its path."""

from __future__ import annotations

import yaml
from rich.markup import escape

from kingyo.cli.answers import answers_record, print_answers, worst_answers
from kingyo.cli.console import Console, say
from kingyo.cli.tables import print_path
from kingyo.evolution import BASELINES, stored_objectives
from kingyo.evolution.trial_recipes import read_recipe
from kingyo.io.units import counted
from kingyo.results.estimates import estimate
from kingyo.results.layer_paths import NamedPath, read_run_layers
from kingyo.results.model_result import ModelResult, read_model_result
from kingyo.results.set_values import score_formatter
from kingyo.results.summary_json import interval_json
from kingyo.results.trials import describe_trial, failure_of, find_trial, reference_to
from kingyo.store import RunStore, StoredTrial
from kingyo.types import SPLITS


def print_trial(store: RunStore, reference: str, answers: int | None = None) -> None:
    """Print what is known of a trial to standard output.

    Args:
        store: the run.
        number: of the trial.
        answers: print so many of its answers in place of its recipe.

    Raises:
        KingyoError: there is none of this name, or it has no answers.
    """
    trial, entry, path = _read(store, reference)
    name = reference_to(trial)
    shown = None if answers is None else worst_answers(store, trial, answers)
    console = Console(highlight=False)
    title = describe_trial(trial) if trial.search == BASELINES else f"trial {name}"
    batch = "" if trial.search == BASELINES else f", batch {trial.batch + 1}"
    parents = f", parents {', '.join(map(str, trial.asked.parents))}" if trial.asked.parents else ""
    say(
        console,
        f"[bold]{escape(title[0].upper() + title[1:])}[/bold] of {escape(str(store.folder))}{batch}{parents}",
    )
    for split in SPLITS:
        score = entry.on(split)
        if score is not None:
            cut = f", {counted(entry.cut[split], 'answer')} cut" if entry.cut.get(split) else ""
            say(console, f"{split}: {score.in_percent()} %, n={score.n}{cut}")
    told = next((each.value for each in store.outcomes(trial.search) if each.trial == trial.id), None)
    objectives = stored_objectives(store)
    if objectives.by_set and told is not None:
        say(console, escape(f"what counts, {objectives.title} on fit: {score_formatter(objectives)(told)}"))
    believed = estimate(store, trial)
    if believed is not None:
        n = len(store.items()["fit"])
        score = believed.score.in_percent()
        say(console, f"estimated from all trials for all {n:,} items of fit: {score} %")
    failure = failure_of(store, trial)
    if failure is not None:
        say(console, f"failed: {escape(failure)}")
    if shown is not None:
        print_answers(console, shown)
        return
    if path is not None:
        print_path(console, path, f"trial {name}")
    text = yaml.safe_dump(dict(entry.recipe), sort_keys=False, allow_unicode=True)
    console.print(escape(text.rstrip()), soft_wrap=True)


def trial_record(store: RunStore, reference: str, answers: int | None = None) -> dict[str, object]:
    """Return the same as data; answers come with the recipe.

    Raises:
        KingyoError: there is none of this name, or it has no answers.
    """
    trial, entry, path = _read(store, reference)
    shown = None if answers is None else worst_answers(store, trial, answers)
    believed = estimate(store, trial)
    return {
        "run": str(store.folder),
        "search": trial.search,
        "trial": trial.asked.number,
        "name": trial.name,
        "batch": trial.batch,
        "parents": list(trial.asked.parents),
        "genome": list(trial.asked.genome),
        "recipe": dict(entry.recipe),
        **({} if path is None else {"path": path.to_json()}),
        "failure": failure_of(store, trial),
        **{split: interval_json(entry.on(split)) for split in SPLITS},
        "cut": dict(entry.cut),
        "estimate": None if believed is None else believed.to_json(),
        **({} if shown is None else {"answers": answers_record(shown)}),
    }


def _read(store: RunStore, reference: str) -> tuple[StoredTrial, ModelResult, NamedPath | None]:
    trial = find_trial(store, reference)
    return (
        trial,
        read_model_result(store, trial.search, trial),
        read_run_layers(store).read(read_recipe(trial)),
    )

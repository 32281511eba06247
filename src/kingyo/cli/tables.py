"""Print the summary of a run, or one trial with its scores, recipe and worst answers."""

import shlex
from collections.abc import Iterable, Iterator, Sequence

import yaml

from kingyo.cli.console import Console, print_lines, print_rows
from kingyo.core.io.units import counted, percent
from kingyo.core.types import SPLITS
from kingyo.merging.lineage import LONGEST_RECIPE
from kingyo.search.evolution import BASELINES, stored_objectives
from kingyo.views.page import summary_view
from kingyo.views.rating.results import SplitRating
from kingyo.views.results.summary import RunSummary
from kingyo.views.results.trial_details import ItemAnswer, TrialDetails
from kingyo.views.results.trials import SHARES, describe_trial, reference_to, unit_of
from kingyo.views.results.tuning import describe_lesson
from kingyo.views.tables import people_table
from kingyo.views.view import RunView, Statement

BELOW = ("deciding", "dropped", "duplicates", "note")
LAST = ("compared", "test", "predicted", "learned", "trained", "tuned against", "tuned", "untested")
INDENT = " " * 10
DISCARDED = "not kept, as for all candidates; kingyo export --trial and kingyo draw draw it again"


def print_summary(summary: RunSummary) -> None:
    console, view = Console(), summary_view(summary)
    print_lines(console, f"{view.run} ({view.folder}): {view.status}", *view.said("best"), style="bold")
    print_statements(view.said("cost"), console)
    _print_tables(console, view, "candidates")
    print_statements(view.said("choice"), console)
    _print_tables(console, view, "scores", "sets")
    print_statements(view.said(*BELOW), console)
    _print_tables(console, view, "front")
    print_statements(view.said("path", *LAST, "missing"), console)
    print_lines(console, *view.said("changed"), style="bold")


def print_statements(said: Iterable[Statement], console: Console | None = None) -> None:
    """Print statements, warnings in bold."""
    for each in said:
        print_lines(console or Console(), each, style="bold" if each.is_warning else None)


def _print_tables(console: Console, view: RunView, *names: str) -> None:
    for table in (view.tables[name] for name in names if name in view.tables):
        print_rows(console, table.head, table.rows, title=table.title, n_left=1, bold=table.marked)


def print_ratings(ratings: Sequence[SplitRating]) -> None:
    console = Console()
    for table in map(people_table, ratings):
        print_rows(console, table.head, table.rows, title=table.title, n_left=1, bold="bred")
        print_lines(console, table.note)


def print_answers(console: Console, answers: Sequence[ItemAnswer]) -> None:
    for each in answers:
        item = each.item
        name = f"{item.task}: {item.id}" if item.task else item.id
        print_lines(console, f"\n{name}: {percent(each.answer.score, '.0f')}")
        for label, text in _item_lines(each):
            lines = f"\n{INDENT}".join((text or "(nothing)").split("\n"))
            console.print(f"{label:<{len(INDENT)}}{lines}", markup=False, soft_wrap=True)


def _item_lines(shown: ItemAnswer) -> Iterator[tuple[str, str]]:
    item, answer = shown.item, shown.answer
    cut = f" … (cut at {counted(shown.limit, 'token')})" if answer.is_cut else ""
    drawn = "" if item.seed is None else DISCARDED
    texts = {
        "prompt": item.prompt,
        "image": ", ".join(item.images),
        "choices": " | ".join(item.choices),
        "seed": "" if item.seed is None else str(item.seed),
        "expected": item.answer,
        "drawn": drawn if answer.media is None else answer.media.place,
        "answered": answer.answer + cut,
    }
    for label, text in texts.items():
        if text or (label == "answered" and not texts["drawn"]):
            yield label, text


def print_trial(details: TrialDetails) -> None:
    """Print a trial to standard output: its scores, then its answers if requested, else its recipe."""
    console, trial = Console(), details.trial
    is_baseline = trial.search == BASELINES
    title = describe_trial(trial) if is_baseline else f"trial {reference_to(trial)}"
    batch = "" if is_baseline else f", batch {trial.batch + 1}"
    parents = f", parents {', '.join(map(str, trial.asked.parents))}" if trial.asked.parents else ""
    run = details.store.folder
    print_lines(console, f"{title[0].upper() + title[1:]} of {run}{batch}{parents}", style="bold")
    if details.lesson is not None:
        print_lines(console, describe_lesson(trial, details.lesson))
    print_lines(console, *_score_lines(details))
    if details.answers is not None:
        print_answers(console, details.answers)
        return
    if details.path is not None:
        print_lines(console, *details.path.sentences(f"trial {reference_to(trial)}"))
    recipe = yaml.safe_dump(dict(details.result.recipe), sort_keys=False, allow_unicode=True).rstrip()
    if (n_lines := recipe.count("\n") + 1) > LONGEST_RECIPE:
        command = ("kingyo", "recipe", str(run), "--trial", reference_to(trial))
        recipe = f"Its recipe, of {n_lines:,} lines: {shlex.join(command)}"
    console.print(recipe, markup=False, soft_wrap=True)


def _score_lines(details: TrialDetails) -> Iterator[str]:
    store, result = details.store, details.result
    for split in SPLITS:
        score = result.on(split)
        if score is not None:
            cut = f", {counted(result.cut[split], 'answer')} cut" if result.cut.get(split) else ""
            yield f"{split}: {SHARES.bounded(score)}, n = {score.size}{cut}"
    outcome = store.outcomes(details.trial.search).get(details.trial.id)
    value, objectives = None if outcome is None else outcome.value, stored_objectives(store)
    if objectives.by_set and value is not None:
        yield f"objective, {objectives.title} on fit: {unit_of(objectives).text(value)}"
    elif outcome is not None and outcome.is_partial and value is not None:
        n = len(store.items()["fit"])
        yield f"fit: ≈ {percent(value)}, which the search estimated for all {n:,} items"
    if details.failure is not None:
        yield f"failed: {details.failure}"

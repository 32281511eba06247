"""Print the summary of a run, or one trial with its scores, recipe and worst answers."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import yaml
from rich.markup import escape

from kingyo.cli.console import Console, print_lines, print_rows, print_text
from kingyo.core.io.units import counted, percent
from kingyo.core.types import SPLITS, Item, ItemScore, Lesson
from kingyo.errors import KingyoError
from kingyo.search.evolution import BASELINES, stored_objectives
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.stats import interval_json
from kingyo.store import RunStore, StoredTrial
from kingyo.views.page import summary_view
from kingyo.views.results.genes import NamedPath, means_by_family, read_path
from kingyo.views.results.model_result import ModelResult, read_model_result, token_limits
from kingyo.views.results.summary import RunSummary
from kingyo.views.results.trials import SHARES, describe_trial, failure_of, find_trial, reference_to, unit_of
from kingyo.views.results.tuning import describe_lesson
from kingyo.views.statements import against
from kingyo.views.view import RunView, Statement

BELOW = ("deciding", "dropped", "duplicates", "note")
LAST = ("compared", "test", "predicted", "learned", "trained", "tuned against", "tuned", "untested")
INDENT = " " * 10
LONGEST_RECIPE = 200
"""Lines of a recipe that are printed; blocks and sources have fewer, single tensors more."""
DISCARDED = "not kept, as for all candidates; kingyo export --trial and kingyo draw draw it again"


def print_summary(summary: RunSummary) -> None:
    """Print status, scores with intervals, and comparisons to standard output."""
    console, view = Console(), summary_view(summary)
    _print_title(console, view)
    print_statements(view.said("cost"), console)
    _print_tables(console, view, "candidates")
    print_statements(view.said("choice"), console)
    _print_tables(console, view, "scores", "sets")
    print_statements(view.said(*BELOW), console)
    _print_tables(console, view, "front")
    print_statements(view.said("path", *LAST, "missing"), console)
    print_lines(console, *view.said("changed"), style="bold")


def print_some(summary: RunSummary, controls: Collection[str], *topics: str, name: str | None = None) -> None:
    """Print the scores of some controls and of the bred model, then statements about topics.

    The comparison of the control ``name`` with the bred model is printed first.
    """
    console = Console()
    chosen = {key: each for key, each in summary.controls.items() if key in controls}
    view = summary_view(replace(summary, baselines={}, controls=chosen, choice=None))
    whole = summary_view(summary)
    _print_title(console, whole)
    _print_tables(console, view, "scores", "sets")
    comparison = summary.comparison(name) if name is not None else None
    said = [against(summary, comparison)] if comparison is not None else []
    print_statements([*said, *whole.said(*topics)], console)


def _print_title(console: Console, view: RunView) -> None:
    print_text(console, f"[bold]{escape(view.run)}[/bold] ({escape(view.folder)}): {view.status}")
    print_lines(console, *view.said("best"), style="bold")


def print_statements(said: Iterable[Statement], console: Console | None = None) -> None:
    """Print statements, warnings in bold."""
    for each in said:
        print_lines(console or Console(), each, style="bold" if each.is_warning else None)


def _print_tables(console: Console, view: RunView, *names: str) -> None:
    for table in (view.tables[name] for name in names if name in view.tables):
        print_rows(console, table.head, table.rows, title=table.title, n_left=1, bold=table.marked)


@dataclass(frozen=True, kw_only=True)
class ItemAnswer:
    """An item with a model's answer. ``limit`` is the ``max_new_tokens`` of its task."""

    item: Item
    answer: ItemScore
    limit: int

    def to_json(self) -> dict[str, object]:
        item, answer = self.item, self.answer
        return {
            "item": item.id,
            **({"task": item.task} if item.task else {}),
            "prompt": item.prompt,
            **({"images": item.images} if item.media else {}),
            **({"choices": list(item.choices)} if item.choices else {}),
            **({} if item.seed is None else {"seed": item.seed}),
            "expected": item.answer,
            "answer": answer.answer,
            "score": answer.score,
            "cut": answer.is_cut,
            **({"media": answer.media.place} if answer.media is not None else {}),
        }


def worst_answers(store: RunStore, trial: StoredTrial, n: int) -> list[ItemAnswer]:
    """Return up to n answers of a trial on fit with the lowest scores; ties keep their order.

    Answers on test are not shown: a choice based on them would make the test score too good.
    """
    evaluation = store.evaluation(trial.id, "fit")
    if evaluation is None or not evaluation.scores:
        received = "a trial without answers so far" if evaluation is None else "a failed trial"
        remedy = f"See its scores with `kingyo show {shlex.quote(str(store.folder))} --trial N`."
        raise KingyoError("--answers", "a trial that was scored on fit", received, remedy)
    items = {item.id: item for item in store.items()["fit"]}
    worst = sorted(evaluation.scores, key=lambda each: each.score)[:n]
    limits = token_limits(store)
    return [
        ItemAnswer(item=items[each.item], answer=each, limit=limits[items[each.item].task]) for each in worst
    ]


def print_answers(console: Console, answers: Sequence[ItemAnswer]) -> None:
    """Print items with their answers; further lines of a text are indented."""
    for each in answers:
        item = each.item
        name = f"{item.task}: {item.id}" if item.task else item.id
        print_text(console, f"\n[bold]{escape(name)}[/bold]: {percent(each.answer.score, '.0f')}")
        for label, text in _item_lines(each):
            lines = f"\n{INDENT}".join((text or "(nothing)").split("\n"))
            console.print(f"{label:<{len(INDENT)}}{lines}", markup=False, soft_wrap=True)


def _item_lines(shown: ItemAnswer) -> Iterator[tuple[str, str]]:
    """Yield labels and texts."""
    item, answer = shown.item, shown.answer
    is_drawn = answer.media is not None or item.seed is not None
    if item.prompt or not item.media:
        yield "prompt", item.prompt
    yield from (("image", image) for image in item.images)
    if item.choices:
        yield "choices", " | ".join(item.choices)
    if item.seed is not None:
        yield "seed", str(item.seed)
    if item.answer or item.seed is None:
        yield "expected", item.answer
    if answer.answer or not is_drawn:
        cut = f" … (cut at {counted(shown.limit, 'token')})" if answer.is_cut else ""
        yield "answered", answer.answer + cut
    if is_drawn:
        yield "drawn", DISCARDED if answer.media is None else answer.media.place


@dataclass(frozen=True, kw_only=True)
class TrialDetails:
    """One trial of a run.

    Attributes:
        lesson: how it was learned, or None.
        answers: its worst answers, or None if they were not requested.
    """

    store: RunStore
    trial: StoredTrial
    result: ModelResult
    path: NamedPath | None
    failure: str | None
    lesson: Lesson | None
    answers: list[ItemAnswer] | None

    def to_json(self) -> dict[str, object]:
        trial, result = self.trial, self.result
        return {
            "run": str(self.store.folder),
            "search": trial.search,
            "trial": trial.asked.number,
            "name": trial.name,
            "batch": trial.batch,
            "parents": list(trial.asked.parents),
            "lesson": None if self.lesson is None else asdict(self.lesson),
            "genome": list(trial.asked.genome),
            "recipe": dict(result.recipe),
            **({} if self.path is None else {"path": self.path.to_json()}),
            "failure": self.failure,
            **{split: interval_json(result.on(split)) for split in SPLITS},
            "cut": dict(result.cut),
            **({} if self.answers is None else {"answers": [each.to_json() for each in self.answers]}),
        }


def read_trial(store: RunStore, reference: str, n_answers: int | None = None) -> TrialDetails:
    """Read a trial such as "12", "random:12" or the name of a baseline, with some of its worst answers."""
    trial = find_trial(store, reference)
    return TrialDetails(
        store=store,
        trial=trial,
        result=read_model_result(store, trial.search, trial),
        path=read_path(store, read_recipe(trial)),
        failure=failure_of(store, trial),
        lesson=store.lessons(trial.search).get(trial.id),
        answers=None if n_answers is None else worst_answers(store, trial, n_answers),
    )


def print_trial(details: TrialDetails) -> None:
    """Print a trial to standard output: its scores, then its answers if requested, else its recipe."""
    console, trial = Console(), details.trial
    is_baseline = trial.search == BASELINES
    title = describe_trial(trial) if is_baseline else f"trial {reference_to(trial)}"
    batch = "" if is_baseline else f", batch {trial.batch + 1}"
    parents = f", parents {', '.join(map(str, trial.asked.parents))}" if trial.asked.parents else ""
    run = escape(str(details.store.folder))
    print_text(console, f"[bold]{escape(title[0].upper() + title[1:])}[/bold] of {run}{batch}{parents}")
    if details.lesson is not None:
        print_lines(console, describe_lesson(trial, details.lesson))
    print_lines(console, *_score_lines(details))
    if details.answers is not None:
        print_answers(console, details.answers)
        return
    if details.path is not None:
        print_lines(console, *details.path.sentences(f"trial {reference_to(trial)}"))
    for line in _recipe_lines(details):
        console.print(line, markup=False, soft_wrap=True)


def _score_lines(details: TrialDetails) -> Iterator[str]:
    """Yield the scores, the value that the search used, and the failure."""
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


def _recipe_lines(details: TrialDetails) -> Iterator[str]:
    """Yield the recipe; of one with very many values their means, and the command that prints it."""
    store, trial = details.store, details.trial
    text = yaml.safe_dump(dict(details.result.recipe), sort_keys=False, allow_unicode=True).rstrip()
    means = means_by_family(store.searches()[trial.search], trial.asked.genome)
    if text.count("\n") < LONGEST_RECIPE or not means:
        yield text
        return
    yield f"{counted(len(trial.asked.genome), 'gene')}; mean, and lowest to highest:"
    yield from (f"  {name}: {mean}" for name, mean in means.items())
    command = ("kingyo", "recipe", str(store.folder), "--trial", reference_to(trial))
    yield f"Its recipe, of {text.count(chr(10)) + 1:,} lines: {shlex.join(command)}"

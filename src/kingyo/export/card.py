"""The card of an exported model: sources, licences, recipe, scores with n and interval, how it was made."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kingyo.core.io.units import amount_text, counted
from kingyo.export.task_files import TASK, TASKS
from kingyo.merging.lineage import (
    INHERITED,
    Origin,
    bullets,
    cell,
    describe_path,
    fence,
    front_matter,
    models_section,
    public_name,
    public_recipe,
    recipe_section,
    render,
    table,
)
from kingyo.merging.recipe import Recipe
from kingyo.models.kinds import call_kind
from kingyo.runs.adapters import Training
from kingyo.runs.config import TUNED, WEIGHT_SEARCH
from kingyo.runs.model_kind import task_options
from kingyo.runs.run import Run
from kingyo.search.evolution import BASELINES, MAIN
from kingyo.views.cards import SIDE, ContactSheet, small_image
from kingyo.views.choice import candidates_table
from kingyo.views.results.genes import means_by_family
from kingyo.views.results.model_result import MIXTURES, ModelResult, PairedComparison
from kingyo.views.results.summary import RunSummary
from kingyo.views.results.trials import describe_search, describe_trial
from kingyo.views.statements import HOW_FLATTERED, statements
from kingyo.views.tables import scores_table, summary_tables
from kingyo.views.view import Table

_AGAIN = """```sh
kingyo evaluate . {task} --split test
```

`items*.jsonl` holds the items of all splits with their answers: leave it out where you publish this
folder, if the test items are to stay unseen."""

_LIMITS = (
    "It was selected for `{task}`. Nothing is known of it elsewhere; abilities of its sources may be lost.",
    "Scores hold for {scored} of `{task}`, within the intervals above.",
    INHERITED,
)

ADAPTER, BRED_RECIPE, IMAGES = "adapter", "bred.yaml", "images"
"""Folder of the LoRA of a trained model; recipe of the bred model that it was trained on; and of images."""
_THIS = "**this model**"
LANGUAGE_CODE = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True, kw_only=True)
class Card:
    """The contents of a card; ``images`` are those of the contact sheet, by their files."""

    title: str
    chosen: ModelResult
    comparisons: Sequence[PairedComparison]
    run: Run
    summary: RunSummary
    searches: Mapping[str, Mapping[str, object]]
    version: str
    recipe: Recipe
    made_of: Recipe
    training: Training | None
    origins: Sequence[Origin]
    versions: str | None
    has_learned_weights: bool
    sheet: ContactSheet | None
    images: Mapping[str, bytes]
    part: str | None = None

    def said(self, *topics: str) -> list[str]:
        """Return what is known of the run about some topics."""
        return [str(each) for topic in topics for each in statements(self.summary) if each.topic == topic]

    @property
    def is_baseline(self) -> bool:
        return self.chosen.trial.search == BASELINES

    @property
    def is_copy(self) -> bool:
        return self.is_baseline and self.chosen.trial.name not in MIXTURES


def render_card(card: Card) -> str:
    """Write the card: YAML that the Hub reads, then Markdown for people."""
    part, task = card.run.kind.card, TASK if len(card.run.config.specs) == 1 else TASKS
    is_finetune = card.training is not None and card.chosen.trial.search != TUNED
    specs = card.run.config.specs.values()
    languages = [option for spec in specs for name, option in spec.graders if name == "language"]
    front = front_matter(
        card.origins,
        library=part.library,
        pipeline_tag=part.pipeline_tag,
        languages=[each for each in languages if isinstance(each, str) and LANGUAGE_CODE.fullmatch(each)],
        relation=None if card.is_copy else "finetune" if is_finetune else "merge",
    )
    choice = None
    if card.summary.chosen is not None:
        said = " ".join(map(cell, card.said("choice")))
        choice = f"{said}\n\n{_markdown(candidates_table(card.summary.chosen))}"
    limits = (limit.format(task=task, scored=part.scored) for limit in _LIMITS)
    sections = {
        "Scores": _scores(card),
        "Images": _images(card),
        "Source models": models_section(card.origins),
        "Choice of the sources": choice,
        "Recipe": recipe_section(public_recipe(card.recipe, card.origins).to_yaml(), " ".join(_recipe(card))),
        "Search": _history(card),
        "Use": _use(card),
        "Evaluate it again": _AGAIN.format(task=task),
        "Limits": bullets(limits),
    }
    return render(card.title, front, " ".join((_what(card), *_standing(card))), sections)


def _recipe(card: Card) -> Iterator[str]:
    trial = card.chosen.trial
    if card.training is not None:
        yield f"`{ADAPTER}/` holds the LoRA alone."
    if card.chosen.trial.search == TUNED:
        yield f"`{BRED_RECIPE}` is the recipe of the bred model, on which it was trained."
    if card.has_learned_weights:
        means = means_by_family(card.searches[trial.search], trial.asked.genome)
        listed = "; ".join(f"{cell(name)} {mean}" for name, mean in means.items())
        yield f"Its values, as mean (lowest to highest) over groups of tensors: {listed}."
    yield f"Its hash in the run is `{trial.recipe_hash[:16]}`."


def _images(card: Card) -> str | None:
    if card.sheet is None or not card.images:
        return None
    files, rows = iter(card.images), list[list[str]]()
    for row in card.sheet.rows:
        seed = "" if row.item.seed is None else f" (seed {row.item.seed})"
        rows.append([cell(row.item.prompt) + seed, *(f"![]({next(files)})" for _ in row.answers)])
    return (
        f"Prompts of the test split, drawn at random.\n\n{table(['', *map(cell, card.sheet.models)], rows)}"
    )


def images_of(sheet: ContactSheet | None) -> dict[str, bytes]:
    """Return the images of a contact sheet, maybe smaller: file -> content; none if one is lost."""
    files: dict[str, bytes] = {}
    for number, row in enumerate(() if sheet is None else sheet.rows, start=1):
        for place, answer in enumerate(row.answers.values(), start=1):
            kind, content = ("", b"") if answer.media is None else small_image(answer.media, SIDE)
            if not content:
                return {}
            files[f"{IMAGES}/{number}-{place}.{kind.rpartition('/')[2]}"] = content
    return files


def _what(card: Card) -> str:
    trial, run = card.chosen.trial, cell(card.summary.run)
    by, name = f"by kingyo {cell(card.version)}", cell(describe_trial(trial))
    this = f"This is {name} of the run {run}."
    if card.is_copy:
        return f"A copy of {name} of the run {run}, written {by}. Nothing was merged or trained."
    merged = _merged(card)
    if card.is_baseline:
        return f"{merged}: {name} of the run {run}, written {by}. Nothing was searched for it or trained."
    search = "an evolutionary search over recipes"
    if card.training is not None:
        seconds = card.training.numbered[card.training.number_of(trial.asked.number)].seconds or 0.0
        trained = f"trained on the fit items ({seconds:,.0f} s)"
        if trial.search == TUNED:
            return f"{merged}, bred {by}: {search}. Then a LoRA was {trained} and merged into it. {this}"
        parent = cell(card.training.parent)
        return f"A LoRA merged into {parent}: it was {trained} as a control, {by}. {this}"
    how = search if trial.search == MAIN else cell(describe_search(trial.search))
    trained = "without any gradient training"
    if card.has_learned_weights:
        trained = "with weights of the merge learned by gradient from answers to fit items"
    return f"{merged}, bred {by}: {how}, {trained}. {this}"


def _merged(card: Card) -> str:
    if card.recipe.path:
        return describe_path(card.recipe, {origin.reference: origin.name for origin in card.origins})
    base = card.made_of.base_model
    names = ", ".join(cell(origin.name) for origin in card.origins if origin.reference != base)
    return f"A merge of {names}{'' if base is None else ' relative to their base'}"


def _standing(card: Card) -> Iterator[str]:
    summary, trial = card.summary, card.chosen.trial
    winners = [each.trial for each in (summary.winner, summary.best, *summary.controls.values()) if each]
    if summary.winner is None:
        yield "The run is not at its end, and no winner is picked yet."
    elif trial not in winners and not card.is_baseline:
        yield "It is not the winner of its search."
    yield from map(cell, card.said("best"))


def _scores(card: Card) -> str:
    summary, compared = card.summary, {each.other: each for each in card.comparisons}
    others = {name: each for name, each in summary.named_models.items() if each.trial != card.chosen.trial}
    comparisons = {name: compared[each.name] for name, each in others.items() if each.name in compared}
    by, minus = summary.unit.measure, "this model minus it, on test"
    read = [f"{summary.score_name.capitalize()} with 95% intervals."]
    if card.training is not None:
        read.append("This model was trained on fit, so its score there says nothing.")
    if by is None:
        read.append(HOW_FLATTERED)
    else:
        sets = summary_tables(summary).get("sets")
        decided = "" if sets is None else f":\n\n{_markdown(sets)}\n\n"
        read.append(f"What decided is {cell(by)} of all answers, not these{decided or '.'}")
        read.append("It guided the search on fit and picked the winner on validation, so both flatter it.")
    if card.chosen.test is None:
        read.append("This model was not scored on the test split.")
    elif summary.test_note is None:
        read.append("The test split was read once, at the end, and is the fair comparison.")
    else:
        read.append(f"The test split is the fairest comparison. {summary.test_note}")
    said = [*card.said("dropped", "changed"), *filter(None, [card.versions]), *card.said("missing")]
    models, against = {_THIS: card.chosen, **others}, f"{by} of {minus}" if by else minus
    lines = _markdown(scores_table(summary, models, comparisons, against))
    return f"{lines}\n\n{' '.join((*read, *map(cell, said)))}"


def _markdown(shown: Table) -> str:
    """Write a table; of its names, only "**this model**" is Markdown."""
    rows = [
        (
            name.replace(cell(_THIS), _THIS) if name.startswith(cell(_THIS)) else name,
            *(each.replace("<", "\\<") for each in rest),
        )
        for name, rest in ((cell(str(row[0])), map(str, row[1:])) for row in (shown.head, *shown.rows))
    ]
    return table(rows[0], rows[1:])


def _history(card: Card) -> str:
    summary, config = card.summary, card.run.config
    budget = config.budget.model_dump(exclude_none=True)
    spent = ", ".join(amount_text(name, value) for name, value in budget.items())
    spent += "".join(f", then {each}" for each in summary.extensions)
    tasks: list[str] = []
    for spec in config.specs.values():
        graders = ", ".join(public_name(name) for name, _ in spec.graders)
        kind = f"graded by {cell(graders)}" if graders else f"of kind {cell(public_name(spec.kind_name))}"
        weight = "" if spec.weight == 1 else f", weight {spec.weight:g}"
        tasks.append(f"task: {cell(spec.name)}, {kind}{weight}")
    return bullets(
        (
            *_searches(card),
            f"{counted(summary.trials, 'trial')}, {summary.failures} of them failed; budget {spent}",
            f"{counted(summary.item_evaluations, 'item evaluation')} in {summary.seconds:,.0f} s, by "
            "all searches",
            *map(cell, card.said("learned", "trained", "tuned")),
            *tasks,
        )
    )


def _searches(card: Card) -> Iterator[str]:
    name = card.chosen.trial.search
    if card.is_baseline:
        yield "no search: it is a model that the run compares with"
        name = next((each for each in (MAIN, WEIGHT_SEARCH) if each in card.searches), name)
    search = card.searches[name]
    if card.training is not None:
        yield f"LoRA training on {cell(card.training.parent)}, with settings that validation chose among"
    elif "strategy" in search:
        whose = "search of the run" if card.is_baseline else "search"
        strategy = cell(public_name(str(search["strategy"])))
        over = f"{cell(public_name(str(search.get('method'))))}, groups {cell(str(search.get('groups')))}"
        if search.get("space") == "dataflow":
            over = "paths through layers"
        yield f"{whose}: {strategy} over {over}, seed {card.run.config.seed}"


def _use(card: Card) -> str:
    kind, example = card.run.kind, card.run.items["fit"][0]
    options = task_options(card.run.config, card.run.folder)[0]
    code = call_kind(kind, "usage", lambda: kind.usage(example, options), str)
    if card.part is None:
        return fence(code, "python")
    name = cell(card.part)
    place = f"Put these files in place of the folder `{name}` in a copy of its pipeline; there:"
    return f"{place}\n\n{fence(code, 'python')}"

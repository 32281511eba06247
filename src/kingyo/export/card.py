"""The model card of a bred model: sources, licences, recipe, scores with n and interval, how it was bred."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from kingyo.config import PARAMETERS, WEIGHTS_ALONE, RunConfig
from kingyo.export.task_files import ITEMS, TASK, TASKS
from kingyo.lineage import (
    Origin,
    base_models,
    bullets,
    cell,
    fence,
    front_licence,
    models_section,
    passed,
    shared_layers,
    table,
)
from kingyo.merge.shared import Shared
from kingyo.recipe import Recipe
from kingyo.stats import Interval
from kingyo.summary import Comparison, Entry, RunSummary
from kingyo.tasks import TaskSpec
from kingyo.types import SPLITS

_AGAIN = """```sh
kingyo evaluate . {task} --split test{trust}
```

`{items} the items of all splits with their answers: leave {them} out where you publish this
folder, if the test items are to stay unseen."""

_LIMITS = """\
- It was selected for {tasks}. Nothing is known of it elsewhere; abilities of its sources may be lost.
- Scores hold for greedy decoding with the prompts of `{task}`, within the intervals above.
- It inherits the biases of the models that went in, and nobody has checked it for safety."""

LANGUAGE_CODE = re.compile(r"[a-z]{2,3}")


@dataclass(frozen=True, kw_only=True)
class Card:
    """All that a card tells.

    Attributes:
        title: what the model is called.
        chosen: the exported trial.
        summary, search, config, version: of the run.
        recipe: as the run stored it.
        origins: what went in.
        example: a prompt of the fit split.
        shared: of a path whose layers are written once.
        failure: why the search could not score the exported trial; None where it could.
    """

    title: str
    chosen: Entry
    summary: RunSummary
    search: Mapping[str, object]
    recipe: Recipe
    origins: Sequence[Origin]
    config: RunConfig
    version: str
    example: str
    failure: str | None = None
    shared: Shared | None = None

    @property
    def is_winner(self) -> bool:
        """Whether the exported trial is the one that validation picked."""
        return self.summary.winner is not None and self.summary.winner.trial.id == self.chosen.trial.id


def render_card(card: Card) -> str:
    """Write the card: YAML that the Hub reads, then Markdown for people."""
    head = yaml.safe_dump(front_matter(card), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{head}---\n\n# {cell(card.title)}\n\n{_summary(card)}",
        f"## Scores\n\n{_scores(card)}",
        f"## Models that went in\n\n{models_section(card.origins)}",
        f"## Recipe\n\n{_recipe(card)}",
        f"## How it was bred\n\n{_history(card)}",
        f"## Use\n\n{_use(card)}",
        f"## Score it again\n\n{_AGAIN.format(**_files(card))}",
        f"## Limits\n\n{_LIMITS.format(**_files(card))}",
    ]
    return "\n\n".join(parts) + "\n"


def front_matter(card: Card) -> dict[str, object]:
    """Return what the Hub reads."""
    languages = _languages(card)
    return {
        **front_licence(card.origins),
        **({"language": languages} if languages else {}),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        **base_models(card.origins),
        "tags": ["merge", "kingyo"],
    }


def _languages(card: Card) -> list[str]:
    told = [language for origin in card.origins for language in origin.languages]
    specs = card.config.specs.values()
    graded = [option for spec in specs for name, option in spec.graders if name == "language"]
    codes = [option for option in graded if isinstance(option, str) and LANGUAGE_CODE.fullmatch(option)]
    return list(dict.fromkeys([*codes, *told]))


def _summary(card: Card) -> str:
    base = card.recipe.base_model
    names = ", ".join(cell(origin.name) for origin in card.origins if origin.reference != base)
    what = f"A merge of {names}{'' if base is None else ' relative to their base'}"
    if card.recipe.path:
        what = passed(card.recipe, {origin.reference: origin.name for origin in card.origins})
    trial = f"trial {card.chosen.trial.asked.number} of the run {cell(card.summary.run)}"
    picked = "" if card.is_winner else " It is not the one that validation picked."
    if card.summary.winner is None:
        picked = " The run is not at its end, and validation has picked no winner yet."
    if card.failure is not None:
        picked += f" The search could not score it: {cell(card.failure)}."
    return (
        f"{what}, bred by kingyo {cell(card.version)}: an evolutionary search over "
        f"recipes, without any gradient training. This is {trial}.{picked}"
    )


def _scores(card: Card) -> str:
    rows = _rows("**this model**", card.chosen, None)
    for name, each in card.summary.baselines.items():
        rows += _rows(cell(name), each, _against(card, name))
    for name, each in card.summary.controls.items():
        what = f"the merge of {WEIGHTS_ALONE}" if name == PARAMETERS else f"{cell(name)} search, same cost"
        rows += _rows(what, each, _against(card, name))
    lines = table(("model", *SPLITS, "this model minus it, on test"), rows)
    read = (
        "Mean item scores in % with 95 % intervals, and n. The search chose by fit, validation picked the "
        "winner; "
    )
    tested = "only the test split was read once, at the end, and compares fairly."
    if card.summary.test_note is not None:
        tested = f"only the test split compares fairly. {card.summary.test_note}"
    untested = "both flatter it. This model was not scored on the test split."
    return f"{lines}\n\n{read}{tested if card.chosen.test is not None else untested}"


def _rows(name: str, entry: Entry, comparison: Comparison | None) -> list[tuple[str, ...]]:
    """The scores of a model; with several tasks their mean, then each of them."""
    difference = "" if comparison is None else _difference(comparison)
    mean = (name, *(_score(each) for each in (entry.fit, entry.validation, entry.test)), difference)
    tasks = [
        (f"{name}: {cell(task)}", *(_score(own.get(split)) for split in SPLITS), "")
        for task, own in entry.tasks.items()
    ]
    return [mean, *tasks]


def _against(card: Card, name: str) -> Comparison | None:
    if not card.is_winner:
        return None
    return next((each for each in card.summary.comparisons if each.other == name), None)


def _score(value: Interval | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value.score:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}], n = {value.n}"


def _difference(comparison: Comparison) -> str:
    found = comparison.difference
    p = ", p < 0.001" if comparison.p < 0.001 else f", p = {comparison.p:.3f}"
    bounds = f"[{100 * found.low:+.1f}, {100 * found.high:+.1f}]".replace("<", "\\<")
    return f"{100 * found.score:+.1f} {bounds}{p}".replace("<", "\\<")


def _recipe(card: Card) -> str:
    text = card.recipe.to_yaml()
    note = "`recipe.yaml` holds it with the paths of the machine on which it was exported."
    return f"{fence(text, 'yaml')}\n\n{note} Its hash in the run is `{card.recipe.hash[:16]}`."


def _searched(card: Card) -> str:
    if card.search.get("space") == "dataflow":
        return "paths through layers"
    return f"{cell(str(card.search.get('method')))}, groups {cell(str(card.search.get('groups')))}"


def _history(card: Card) -> str:
    summary, config = card.summary, card.config
    budget = config.budget.model_dump(exclude_none=True)
    spent = ", ".join(f"{value:g} {name.replace('_', ' ')}" for name, value in budget.items())
    spent += "".join(f", then {each}" for each in summary.extensions)
    fit = card.chosen.fit
    met = "" if fit is None or len(config.specs) > 1 else f", {fit.n} fit items"
    return bullets(
        (
            f"search: {cell(str(card.search.get('strategy')))} over {_searched(card)}, seed {config.seed}",
            f"{summary.trials} trials, {summary.failures} of them failed; budget {spent}",
            f"{summary.item_evaluations:,} item evaluations in {summary.seconds:,.0f} s, by all searches",
            *(f"task: {_task(spec)}{met}" for spec in config.specs.values()),
        )
    )


def _task(spec: TaskSpec) -> str:
    weight = "" if spec.weight == 1 else f", weight {spec.weight:g}"
    return f"{cell(spec.name)}, graded by {cell(', '.join(name for name, _ in spec.graders))}{weight}"


def _files(card: Card) -> dict[str, str]:
    """What the card calls the tasks and their files."""
    n, trust = len(card.config.specs), "" if card.shared is None else " --trust-remote-code"
    if n == 1:
        return {"task": TASK, "items": f"{ITEMS}` holds", "them": "it", "tasks": "one task", "trust": trust}
    several = {"task": TASKS, "items": "items-*.jsonl` hold", "them": "them", "tasks": f"{n} tasks"}
    return {**several, "trust": trust}


def _use(card: Card) -> str:
    prompt = repr(card.example)
    asked = f"tokenizer({prompt}, return_tensors='pt').input_ids"
    task = next(iter(card.config.specs.values()))
    if task.chat:
        asked = (
            f"tokenizer.apply_chat_template([{{'role': 'user', 'content': {prompt}}}], "
            "add_generation_prompt=True, return_tensors='pt', return_dict=True).input_ids"
        )
    stop = f", stop_strings={list(task.stop)}, tokenizer=tokenizer" if task.stop else ""
    trusted = "" if card.shared is None else ", trust_remote_code=True"
    code = (
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained('.'{trusted})  # this folder\n"
        f"model = AutoModelForCausalLM.from_pretrained('.'{trusted})\n"
        f"ids = {asked}\n"
        f"answer = model.generate(ids, do_sample=False, max_new_tokens={task.max_new_tokens}{stop})\n"
        "print(tokenizer.decode(answer[0, ids.shape[1] :], skip_special_tokens=True))\n"
    )
    told = "" if card.shared is None else f"{shared_layers(card.shared)}\n\n"
    return told + fence(code, "python")

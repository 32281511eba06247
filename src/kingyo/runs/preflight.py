"""Check that models, data and settings of a run fit together; quick checks come first."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from kingyo.core.io.units import counted, percent
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint
from kingyo.merging.checkpoints.checkpoint import deciding_files
from kingyo.merging.engine import Plan, plan
from kingyo.merging.vocabulary import check_tokens, read_template
from kingyo.merging.vocabulary.tokenizer_json import find_markers
from kingyo.models.kinds import HasLanguagePart, PassesLayers, require_ability
from kingyo.models.kinds.causal_lm import open_tokenizer
from kingyo.runs.learning import Allowance
from kingyo.runs.model_kind import check_items, first_question, layers_kind, preprocessor_of, require_answers
from kingyo.runs.run import Run
from kingyo.runs.settings import deciding_measures
from kingyo.runs.spaces import dataflow_space, first_merge, frame_of, models_of_paths
from kingyo.search.evolution import Search
from kingyo.search.evolution.screens import Screen
from kingyo.search.space import probes
from kingyo.search.strategies import STRATEGIES
from kingyo.stats import Groups, mean_name, size_of, wilson
from kingyo.tasks import (
    GRADERS,
    TASK_KINDS,
    TaskSpec,
    TextSettings,
    require_measures,
    require_teaching,
    settings_of,
    single_tasks,
    splits_of,
)

_WIDTHS = {"float64": 3, "float32": 2, "float16": 1, "bfloat16": 1}


def check(run: Run) -> None:
    """Check models, data and settings without reading weights."""
    config, sources, kind = run.config, run.open_sources(), run.kind
    check_frame(run)
    if run.settings.paths is not None:
        remedy = "Write space: parameters, or name models of another kind."
        require_ability(f"space: {config.space}", PassesLayers, kind, remedy)
        check_paths(run)
    task = run.task
    require_answers(task, kind)
    require_measures(task, deciding_measures(config))
    if config.controls.trained:
        require_teaching(task)
    for search in run.all_searches:
        _check_budget(search, run)
    for space in (search.space for search in run.all_searches):
        for genome in probes(space.axes):
            plan(space.decode(genome), sources)
    shapes = {job.name: job.shape for job in run.plan.jobs}
    for recipe in run.baselines.values():
        for job in plan(recipe, sources).jobs if run.settings.paths is None else ():
            if shapes.get(job.name) != job.shape:
                expected = f"the shape that candidates have: {list(shapes.get(job.name, ()))}"
                remedy = "Name the models' common ancestor as base:, or write merge.resize: base."
                where = f"{recipe.references[0]}: {job.name}"
                raise KingyoError(where, expected, str(list(job.shape)), remedy)
    if config.merge.dtype is None:
        _check_dtypes(run)


def check_prompts(run: Run) -> None:
    check_items(run.task, run.kind, reads_like(run))


def fits_into(planned: Plan, model: Checkpoint) -> bool:
    """Return whether a model can be filled with a merge: same tensors, same tokenizer."""
    shapes = {job.name: job.shape for job in planned.jobs}
    return planned.tokenizer_files is None and all(
        shapes.get(name) == info.shape for name, info in model.tensors.items()
    )


def _check_budget(search: Search, run: Run) -> None:
    """Refuse a search whose budget allows no candidate; controls have the budget of other searches."""
    n_items = Screen(search.screen, search.seed).most_items(len(run.items["fit"]))
    limit = None if search.like else search.limits.item_evaluations
    if limit is not None and limit < n_items:
        fewer = (
            "." if search.objectives.by_set else ", or score candidates on fewer items: search.screen.items."
        )
        expected = f"at least {n_items}, the items that one candidate is scored on; better {100 * n_items}"
        received = f"{limit} for the search '{search.name}'"
        raise KingyoError("budget.item_evaluations", expected, received, f"Give a larger budget{fewer}")
    allowance = Allowance.of(run.searches[0], len(run.items["fit"]))
    if run.config.learn and search is run.searches[0] and not allowance.is_enough:
        least, items = allowance.least_budget, allowance.most_items
        expected = (
            f"a budget with room for a lesson: at least {least:,} item evaluations, or "
            f"{math.ceil(least / items):,} candidates of {counted(items, 'item')}"
        )
        remedy = "Give a larger budget, or delete `learn: true`."
        raise KingyoError("learn: true", expected, f"{allowance.budget:,} item evaluations", remedy)


def check_paths(run: Run) -> None:
    """Check that paths through layers of the sources can be exported, and that tokens are equal.

    Tokens may differ if the models need a frame, which gives the vocabulary.
    """
    merge = None if run.config.space == "dataflow" else first_merge(run)
    frame = frame_of(run)
    if layers_kind(frame, run.kind) is not run.kind:  # such as a language model beside ones that see
        expected = f"a source of kind {run.kind.name}, which gives everything but the layers"
        remedy = "Name another source as dataflow.frame, or add one to sources."
        raise KingyoError("dataflow.frame", expected, frame.reference, remedy)
    plan(dataflow_space(run, merge).probe(), run.open_sources())
    if not isinstance(run.kind, HasLanguagePart):
        check_tokens({model.reference: model.path for model in models_of_paths(run).values()})


def check_frame(run: Run, argument: str = "merge.frame") -> None:
    """Refuse a language model as the frame of merges if other models see; an error names the argument."""
    named = run.config.merge.frame
    if named is not None and layers_kind(run.models.skeleton, run.kind) is not run.kind:
        expected = f"a model of kind {run.kind.name}, which gives everything that is not merged"
        remedy = "Name a model that sees, or remove the key."
        raise KingyoError(argument, expected, f"'{named}', a language model", remedy)


def _check_dtypes(run: Run) -> None:
    like = run.models.skeleton if run.settings.paths is None else frame_of(run)
    main = like.layout.main
    for name, checkpoint in run.models.sources.items():
        own = checkpoint.layout.main
        for info in checkpoint.tensors.values():
            other = info.name  # the prefix of its layers may differ
            if main is not None and own is not None and other.startswith(f"{own.prefix}."):
                other = f"{main.prefix}{other.removeprefix(own.prefix)}"
            live, stored = like.tensors.get(other), info.stored_dtype
            if live is None or not info.is_floating or live.dtype == stored:
                continue
            if _WIDTHS.get(live.dtype, 0) <= _WIDTHS.get(stored, 0):
                expected = f"weights that fit into {live.dtype}, as {like.reference} has them"
                remedy = "Set the dtype of all candidates with merge.dtype, such as float32."
                raise KingyoError(f"sources.{name}: {info.name}", expected, stored, remedy)


FEW_ITEMS = 30
"""Number of validation or test items below which a run gets a note."""


def notes(run: Run, identity: Mapping[str, object] | None = None) -> tuple[str, ...]:
    if identity is None:
        models = run.models.by_reference
        identity = {reference: deciding_files(model) for reference, model in models.items()}
    return (
        *run.plan.warnings,
        *(note.removesuffix(".") for model in run.models.by_reference.values() for note in model.notes),
        *run.data.notes,
        *_few_items(run),
        *_same_sources(run, identity),
        *_unused_objectives(run),
    )


def _few_items(run: Run) -> Iterator[str]:
    sizes = {
        split: size_of(len(items), Groups.of(item.group for item in items))
        for split, items in run.items.items()
        if split != "fit"
    }
    small = {split: size for split, size in sizes.items() if (size.n_groups or size.n) < FEW_ITEMS}
    if small:
        fewest = min(size.n_groups or size.n for size in small.values())
        interval = wilson(fewest // 2, fewest)
        parts = " and ".join(f"{size.items} of {split}" for split, size in small.items())
        yield (
            f"with {parts}, models are hard to tell apart: {fewest // 2} of {fewest} right has a 95% "
            f"interval of {100 * interval.low:.0f} to {percent(interval.high, '.0f')}. Add rows if you can"
        )


def _same_sources(run: Run, identity: Mapping[str, object]) -> Iterator[str]:
    models, bases = run.models, set[str]()
    if models.base is not None and run.plan.method.needs_base:
        base = identity[models.base.reference]
        bases = {name for name, reference in models.references.items() if identity[reference] == base}
    for name in sorted(bases):
        yield f"source {name} is the base itself, which adds nothing to a merge. Delete it"
    names_by_model: dict[object, list[str]] = {}
    for name, reference in models.references.items():
        names_by_model.setdefault(identity[reference], []).append(name)
    for names in names_by_model.values():
        if len(names) > 1 and not bases.intersection(names):
            yield f"sources {' and '.join(names)} are the same model. Delete all but one of them"


def _unused_objectives(run: Run) -> Iterator[str]:
    main = run.all_searches[0]
    objectives, strategy = main.objectives, str(main.description.get("strategy"))
    handles = getattr(STRATEGIES.get(strategy, run.folder), "handles_objectives", True)
    if objectives.names and not handles:
        mean = mean_name(objectives.tasks.values())
        yield (
            f"{strategy} maximises the {mean} of the tasks, and the front is a by-product. "
            "Use search.preset: pareto to search for the objectives"
        )


NOTABLE_SHARE = 0.05
"""Share of answers that are too long, or were cut, for a warning or note."""

SHORTEST = 2
"""Letters of a text that can show that a prompt has the text of a template."""


def reads_like(run: Run) -> Path:
    """Return the folder of the model whose tokenizer candidates have."""
    return (run.models.skeleton if run.settings.paths is None else frame_of(run)).path


def templates_of(run: Run) -> dict[str, str | None]:
    return {name: read_template(model.path) for name, model in run.models.named.items()}


def is_written_out(prompt: str, templates: Mapping[str, str | None]) -> bool:
    """Return whether a prompt template has the text of a chat template itself.

    It has a control token, such as ``<|im_start|>``, or the texts before and after its fields are in the
    template, as ``Q: `` and ``A:``.
    """
    texts = [text.strip() for text in re.split(r"\{[^{}]*\}", prompt)]
    return any(
        any(mark in prompt for mark in find_markers(each))
        or all(len(text) >= SHORTEST and text in each for text in texts)
        for each in templates.values()
        if each
    )


def warnings(run: Run) -> tuple[str, ...]:
    found: list[str] = []
    for name, spec, settings in _text_tasks(run):
        of = f"task {name}: " if len(run.config.specs) > 1 else ""
        texts = [*_unused_template(run, spec, settings), *_long_answers(run, name, spec, settings)]
        found += [f"{of}{text}" for text in texts]
    return tuple(found)


def _text_tasks(run: Run) -> Iterator[tuple[str, TaskSpec, TextSettings]]:
    for name, spec in run.config.specs.items():
        settings = settings_of(spec, run.folder)
        if isinstance(settings, TextSettings):
            yield name, spec, settings


def _unused_template(run: Run, spec: TaskSpec, settings: TextSettings) -> Iterator[str]:
    if "chat" in spec.options or settings.chat:
        return
    templates = templates_of(run)
    having = [name for name, template in templates.items() if template]
    if not having or is_written_out(settings.prompt, templates):
        return
    use = "write chat: true, with only the message in prompt"
    if read_template(reads_like(run)) is None:
        use = f"copy that of {having[0]} to {reads_like(run)}, whose tokenizer candidates have, and {use}"
    who = "all models" if len(having) == len(templates) else " and ".join(having)
    verb = "have" if len(having) > 1 else "has"
    yield (
        f"chat is not set, but {who} {verb} a chat template. Without it, models that were trained on one may "
        f"answer much worse. To use it, {use}; if not, write chat: false"
    )


def _long_answers(run: Run, name: str, spec: TaskSpec, settings: TextSettings) -> Iterator[str]:
    tokenizer, limit = open_tokenizer(reads_like(run)), settings.max_new_tokens
    is_written = settings.choices is None and all(map(GRADERS.is_registered, dict(spec.graders)))
    if tokenizer is None or not is_written:
        return
    items = [item for each in splits_of(name, run.config.specs, run.items).values() for item in each]
    answers = [item.answer for item in items if item.answer]
    lengths = [len(each.ids) for each in tokenizer.encode_batch(answers, add_special_tokens=False)]
    n_long = sum(length > limit for length in lengths)
    if n_long and n_long >= NOTABLE_SHARE * len(answers):
        yield (
            f"{n_long:,} of {counted(len(answers), 'right answer')} have more than max_new_tokens = {limit} "
            f"tokens, up to {max(lengths):,}: such answers will be cut. Raise max_new_tokens"
        )


def first_prompts(run: Run) -> dict[str, str]:
    """Return the first prompt of each text task as models read it: in the chat template."""
    prompts: dict[str, str] = {}
    tasks = dict(zip(run.config.specs, single_tasks(run.task), strict=True))
    for name, spec, settings in _text_tasks(run):
        item = tasks[name].items("fit")[0]
        own = preprocessor_of(run.kind, reads_like(run)) if settings.chat or item.media else None
        if own is None:
            prompts[name] = item.prompt
        elif hasattr(own, "shown") and TASK_KINDS.is_registered(spec.kind_name):
            question = first_question(tasks[name], run.kind, own, [item])
            if question is not None:
                prompts[name] = str(own.shown(question.prompts[0]))
    return prompts

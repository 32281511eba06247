"""What models read: chat templates, prompts with all tokens, and warnings about both, before a run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from kingyo.core.io.units import counted
from kingyo.core.types import Item, Task
from kingyo.merging.vocabulary import read_template
from kingyo.merging.vocabulary.tokenizer_json import find_markers
from kingyo.models.kinds.causal_lm import open_tokenizer
from kingyo.runs.layer_paths import frame_of
from kingyo.runs.model_kind import first_question, preprocessor_of
from kingyo.runs.run import Run
from kingyo.tasks import GRADERS, TASK_KINDS, TaskSpec, TextSettings, settings_of, single_tasks, splits_of

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
    """Warn if models have chat templates and ``chat`` is not set."""
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
    """Warn if right answers have more tokens than an answer may have; graders of users may not need them."""
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
    """Return the first prompt of each text task as models read it: in the chat template, with all tokens.

    Only a chat template, images or an unusual tokenizer need transformers.
    """
    prompts: dict[str, str] = {}
    tasks = dict(zip(run.config.specs, single_tasks(run.task), strict=True))
    for name, spec, settings in _text_tasks(run):
        item = tasks[name].items("fit")[0]
        shown = None if settings.chat or item.media else with_added_tokens(reads_like(run), item.prompt)
        if shown is None and TASK_KINDS.is_registered(spec.kind_name):
            shown = _as_read(run, tasks[name], item)
        if shown is not None:
            prompts[name] = shown
    return prompts


def with_added_tokens(folder: Path, prompt: str) -> str | None:
    """Return a prompt with the tokens that a tokenizer puts before it.

    None if there is no tokenizer.json, or if live models encode in another way: they remove tokens after a
    prompt, and start tokens that it has itself.
    """
    tokenizer = open_tokenizer(folder)
    if tokenizer is None:
        return None
    whole, plain = (tokenizer.encode(prompt, add_special_tokens=special).ids for special in (True, False))
    added = whole[: len(whole) - len(plain)]
    if whole != [*added, *plain] or (added and plain[: len(added)] == added):
        return None
    return tokenizer.decode(whole, skip_special_tokens=False)


def _as_read(run: Run, task: Task, item: Item) -> str | None:
    """Return the prompt of an item as live models read it; None if their kind cannot show it."""
    own = preprocessor_of(run.kind, reads_like(run))
    question = first_question(task, run.kind, own, [item]) if hasattr(own, "shown") else None
    return None if question is None else str(own.shown(question.prompts[0]))

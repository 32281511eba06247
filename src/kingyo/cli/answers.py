"""Answers of a trial to fit items with the expected ones, the worst first."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from rich.markup import escape

from kingyo.cli.console import Console, say
from kingyo.errors import KingyoError
from kingyo.io.units import counted
from kingyo.results.model_result import token_limits
from kingyo.store import RunStore, StoredTrial
from kingyo.types import Item, ItemScore

INDENT = " " * 10


@dataclass(frozen=True, kw_only=True)
class ItemAnswer:
    """An item with an answer to it. ``limit`` is the ``max_new_tokens`` of its task."""

    item: Item
    answer: ItemScore
    limit: int


def worst_answers(store: RunStore, trial: StoredTrial, n: int) -> list[ItemAnswer]:
    """Return the n answers of a trial with the lowest scores, or as many as there are; equals in their order.

    They are of fit alone: whoever chooses by answers to test items has no test any more.

    Raises:
        KingyoError: the trial has no answers.
    """
    found = store.evaluation(trial.id, "fit")
    if found is None or not found.scores:
        failed = found is not None and found.failure is not None
        raise KingyoError(
            "--answers",
            expected="a trial that was scored on fit",
            received="one that failed" if failed else "one without answers so far",
            remedy=f"`kingyo show {shlex.quote(str(store.folder))} --trial N` says how a trial was scored.",
        )
    items = {item.id: item for item in store.items()["fit"]}
    worst = sorted(found.scores, key=lambda each: each.score)[:n]
    limits = token_limits(store)
    return [
        ItemAnswer(item=items[each.item], answer=each, limit=limits[items[each.item].task]) for each in worst
    ]


def print_answers(console: Console, answers: Sequence[ItemAnswer]) -> None:
    """Print items with their answers."""
    for each in answers:
        name = f"{each.item.task}: {each.item.id}" if each.item.task else each.item.id
        say(console, f"\n[bold]{escape(name)}[/bold]: {100 * each.answer.score:.0f} %")
        if each.item.prompt or not each.item.media:
            _print_text(console, "prompt", each.item.prompt)
        for image in each.item.images:
            _print_text(console, "image", image)
        if each.item.choices:
            _print_text(console, "choices", " | ".join(each.item.choices))
        _print_text(console, "expected", each.item.answer)
        cut = f" … (cut at {counted(each.limit, 'token')})" if each.answer.is_cut else ""
        if each.answer.answer or each.answer.media is None:
            _print_text(console, "answered", each.answer.answer + cut)
        if each.answer.media is not None:
            _print_text(console, "drawn", each.answer.media.place)


def answers_record(answers: Sequence[ItemAnswer]) -> list[dict[str, object]]:
    """Return the same as data."""
    return [
        {
            "item": each.item.id,
            **({"task": each.item.task} if each.item.task else {}),
            "prompt": each.item.prompt,
            **({"images": each.item.images} if each.item.media else {}),
            **({"choices": list(each.item.choices)} if each.item.choices else {}),
            "expected": each.item.answer,
            "answer": each.answer.answer,
            "score": each.answer.score,
            "cut": each.answer.is_cut,
            **({"media": each.answer.media.place} if each.answer.media is not None else {}),
        }
        for each in answers
    ]


def _print_text(console: Console, label: str, text: str) -> None:
    """Print a text as it is, its further lines below the first; an empty one is shown as such."""
    lines = text.split("\n") if text else ["(nothing)"]
    whole = f"\n{INDENT}".join(escape(line) for line in lines)
    console.print(f"{label:<{len(INDENT)}}{whole}", soft_wrap=True)

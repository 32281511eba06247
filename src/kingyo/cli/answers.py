"""The worst answers of a trial to fit items, as text and as JSON."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from rich.markup import escape

from kingyo.cli.console import Console, print_text
from kingyo.errors import KingyoError
from kingyo.io.units import counted
from kingyo.results.model_result import token_limits
from kingyo.store import RunStore, StoredTrial
from kingyo.types import Item, ItemScore

INDENT = " " * 10


@dataclass(frozen=True, kw_only=True)
class ItemAnswer:
    """An item with a model's answer. ``limit`` is the ``max_new_tokens`` of its task."""

    item: Item
    answer: ItemScore
    limit: int

    def to_json(self) -> dict[str, object]:
        """Return item and answer as JSON data."""
        item, answer = self.item, self.answer
        return {
            "item": item.id,
            **({"task": item.task} if item.task else {}),
            "prompt": item.prompt,
            **({"images": item.images} if item.media else {}),
            **({"choices": list(item.choices)} if item.choices else {}),
            "expected": item.answer,
            "answer": answer.answer,
            "score": answer.score,
            "cut": answer.is_cut,
            **({"media": answer.media.place} if answer.media is not None else {}),
        }


def worst_answers(store: RunStore, trial: StoredTrial, n: int) -> list[ItemAnswer]:
    """Return up to n answers of a trial on fit with the lowest scores; ties keep their order.

    Answers on test are not shown: a choice based on them would make the test score too good.

    Raises:
        KingyoError: the trial has no answers.
    """
    evaluation = store.evaluation(trial.id, "fit")
    if evaluation is None or not evaluation.scores:
        has_failed = evaluation is not None and evaluation.failure is not None
        raise KingyoError(
            "--answers",
            expected="a trial that was scored on fit",
            received="a failed trial" if has_failed else "a trial without answers so far",
            remedy=f"See its scores with `kingyo show {shlex.quote(str(store.folder))} --trial N`.",
        )
    items = {item.id: item for item in store.items()["fit"]}
    worst = sorted(evaluation.scores, key=lambda each: each.score)[:n]
    limits = token_limits(store)
    return [
        ItemAnswer(item=items[each.item], answer=each, limit=limits[items[each.item].task]) for each in worst
    ]


def print_answers(console: Console, answers: Sequence[ItemAnswer]) -> None:
    """Print items with their answers."""
    for each in answers:
        name = f"{each.item.task}: {each.item.id}" if each.item.task else each.item.id
        print_text(console, f"\n[bold]{escape(name)}[/bold]: {100 * each.answer.score:.0f} %")
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


def _print_text(console: Console, label: str, text: str) -> None:
    """Print a label and a text, with further lines indented; an empty text is shown as "(nothing)"."""
    lines = text.split("\n") if text else ["(nothing)"]
    indented = f"\n{INDENT}".join(escape(line) for line in lines)
    console.print(f"{label:<{len(INDENT)}}{indented}", soft_wrap=True)

"""Says of every model of a finished run what it can do, from the run's stored answers. Runs no model.

    python examples/smollm2/abilities.py RUN

On the test split: how often the right value is anywhere in the answer, by department, and how often the
answer has the house format, right or wrong. The task wants both at once.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kingyo.core.types import Item
from kingyo.store import RunStore
from kingyo.views.results.summary import summarize

FORMAT = re.compile(r'\{"answer": "[^"]*"\}')
Judge = Callable[[Item, str], bool]


def main(run: Path) -> None:
    """Print a table in Markdown."""
    with RunStore.read(run) as store:
        summary = summarize(store)
        models = {**summary.baselines, **summary.controls}
        if summary.winner is not None:
            models["bred"] = summary.winner
        items = store.items()["test"]
        goods = [item for item in items if item.fields["about"].startswith("goods/")]
        staff = [item for item in items if item.fields["about"].startswith("staff/")]
        print(
            f"| model | knows goods, n={len(goods)} | knows staff, n={len(staff)} | format, n={len(items)} |"
        )
        print("|---|---|---|---|")
        for name, entry in models.items():
            evaluation = store.evaluation(entry.trial.id, "test")
            if evaluation is not None:
                answers = {each.item: each.answer for each in evaluation.scores}
                known = [_share(each, answers, knows) for each in (goods, staff)]
                print(f"| {name} | {known[0]} | {known[1]} | {_share(items, answers, form)} |")


def knows(item: Item, answer: str) -> bool:
    """Whether the right value is a word of the answer."""
    value = re.escape(item.fields["value"])
    return re.search(rf"\b{value}\b", answer) is not None


def form(_: Item, answer: str) -> bool:
    """Whether the answer has the house format."""
    return FORMAT.fullmatch(answer.strip()) is not None


def _share(items: Sequence[Item], answers: Mapping[str, str], judge: Judge) -> str:
    right = sum(judge(item, answers[item.id]) for item in items)
    return f"{100 * right / len(items):.1f}%"


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Objectives that are computed from stored answers: any number of them, from one answer to each item.

One of your own is a function with one argument, ``Answers``; run.yaml names it as ``file.py:function``. A
larger value is better, so what should be small is negative.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from kingyo.core.types import Item, ItemScore
from kingyo.errors import KingyoError
from kingyo.registry import Registry, is_in_file


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The answers of a model to items of a task."""

    items: Sequence[Item]
    # score and answer of each item; an answer is a text, or an image in ``media``
    scores: Sequence[ItemScore]
    model: Path  # folder of a model whose tokenizer all candidates have


AnswerObjective = Callable[[Answers], float]
"""Returns the objective of the answers to a task; a run takes the weighted mean over its tasks."""
ANSWER_OBJECTIVES: Registry[AnswerObjective] = Registry("objective", "kingyo.tasks", "kingyo.objectives")
"""Objectives by name. Plug-ins use the entry point group ``kingyo.objectives``."""


@ANSWER_OBJECTIVES.register("answer_tokens")
def answer_tokens(answers: Answers) -> float:
    """Return minus the mean number of tokens per answer, without an end token."""
    tokenizer = _tokenizer(answers.model)
    encoded = tokenizer.encode_batch([each.answer for each in answers.scores], add_special_tokens=False)
    return -fmean(len(each.ids) for each in encoded)


@ANSWER_OBJECTIVES.register("answer_length")
def answer_length(answers: Answers) -> float:
    """Return minus the mean number of characters per answer."""
    return -fmean(len(each.answer) for each in answers.scores)


def is_of_answers(name: str) -> bool:
    """Return whether a name is that of an objective of answers; tasks may not have it."""
    return is_in_file(name) or name in ANSWER_OBJECTIVES.names()


@lru_cache(maxsize=4)
def _tokenizer(model: Path) -> Any:
    file = model / "tokenizer.json"
    if not file.is_file():
        remedy = "Use answer_length, which counts characters."
        raise KingyoError("objectives: answer_tokens", "models with a tokenizer.json", f"no {file}", remedy)
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(file))

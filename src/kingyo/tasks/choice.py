"""The kind of task ``choice``: the model picks the most likely of an item's choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.tasks.graders.grader import build_grader
from kingyo.tasks.graders.texts import Choice
from kingyo.tasks.kinds import TASK_KINDS, Splits, SplitTask
from kingyo.tasks.text import TextSettings
from kingyo.types import Example, Item, ItemScore, RatesText


@TASK_KINDS.register("choice")
class ChoiceTask(SplitTask):
    """A task in which the model picks the most likely of an item's choices after the prompt."""

    Settings = TextSettings
    needs = RatesText

    def __init__(self, name: str, settings: TextSettings, splits: Splits, folder: Path) -> None:
        super().__init__(name, splits)
        self._choice = choice_of(settings, folder)
        self._chat = settings.chat
        for item in self.all_items():
            self._choice.check(item)

    def score(self, model: RatesText, items: Sequence[Item]) -> Sequence[ItemScore]:
        pairs = [pair for item in items for pair in self._pairs(model, item)]
        return self._choice.scores(items, model.log_likelihood(pairs))

    def examples(
        self,
        model: RatesText,
        items: Sequence[Item],
        answers: Mapping[str, Sequence[str]],  # noqa: ARG002 (part of the protocol)
        *,
        prefers_given: bool,  # noqa: ARG002
    ) -> Sequence[Example]:
        return tuple(self._choice.example(item, self._prompt(model, item)) for item in items)

    def _pairs(self, model: RatesText, item: Item) -> list[tuple[str, str]]:
        prompt = self._prompt(model, item)
        return [(prompt, self._choice.separator + choice) for choice in item.choices]

    def _prompt(self, model: RatesText, item: Item) -> str:
        return model.chat_prompt(item.prompt) if self._chat else item.prompt


def choice_of(settings: TextSettings, folder: Path) -> Choice:
    """Return the grader ``choice`` of settings, which must be the only one."""
    (name, option), *others = settings.graders
    choice = build_grader(name, option, folder)
    if not isinstance(choice, Choice) or others:
        expected = "`choice` as the only grader of a multiple-choice task"
        remedy = "Write `grader: choice`, or set kind: generate."
        raise KingyoError("grader", expected, ", ".join(name for name, _ in settings.graders), remedy)
    return choice

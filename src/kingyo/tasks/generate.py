"""The kind of task ``generate``: the model writes each answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kingyo.tasks.graders import graders_of_task
from kingyo.tasks.kinds import TASK_KINDS, Splits, SplitTask
from kingyo.tasks.text import TextSettings
from kingyo.types import CutAware, Example, GeneratesText, Item, ItemScore, Written


@TASK_KINDS.register("generate")
class GenerateTask(SplitTask):
    """A task in which the model writes each answer.

    Args:
        name: unique within a run.
        settings: the prompt and its options, and the graders.
        splits: the items of each split.
        folder: base of relative paths to the graders' files.
    """

    Settings = TextSettings
    needs = GeneratesText

    def __init__(self, name: str, settings: TextSettings, splits: Splits, folder: Path) -> None:
        super().__init__(name, splits)
        self._settings = settings
        self._graders = graders_of_task(settings, folder)
        self._graders.check(self.all_items())

    def score(self, model: GeneratesText, items: Sequence[Item]) -> Sequence[ItemScore]:
        answers = self._answers(model, items)
        scores = self._graders.grade([each.text for each in answers], items)
        return tuple(
            ItemScore(item=item.id, score=score, answer=text, is_cut=is_cut)
            for item, (text, is_cut), score in zip(items, answers, scores, strict=True)
        )

    def examples(
        self,
        model: GeneratesText,
        items: Sequence[Item],
        answers: Mapping[str, Sequence[str]],
        *,
        prefers_given: bool,
    ) -> Sequence[Example]:
        """Return an example per training answer, followed by the first stop string.

        An item's training answers are its own answer, if it gets full marks, or else those of ``answers``;
        ``prefers_given`` reverses the order.
        """
        end = self._settings.stop[0] if self._settings.stop else ""
        return tuple(
            Example(item=item.id, prompt=self._prompt(model, item), answer=answer + end)
            for item in items
            for answer in training_answers(
                item, self._graders.score, answers.get(item.id, ()), prefers_given=prefers_given
            )
        )

    def _answers(self, model: GeneratesText, items: Sequence[Item]) -> Sequence[Written]:
        """Return the model's answers; if it does not report cut answers, none counts as cut."""
        prompts, settings = [self._prompt(model, item) for item in items], self._settings
        if isinstance(model, CutAware):
            return model.write(prompts, max_new_tokens=settings.max_new_tokens, stop=settings.stop)
        answers = model.generate(prompts, max_new_tokens=settings.max_new_tokens, stop=settings.stop)
        return [Written(text, is_cut=False) for text in answers]

    def _prompt(self, model: GeneratesText, item: Item) -> str:
        return model.chat_prompt(item.prompt) if self._settings.chat else item.prompt


def training_answers(
    item: Item, grade: Callable[[str, Item], float], given: Sequence[str], *, prefers_given: bool
) -> Sequence[str]:
    """Return the item's own answer, if it gets full marks, or else the given ones; or in reverse order."""
    own = [item.answer] if item.answer and grade(item.answer, item) == 1 else []
    return (given or own) if prefers_given else (own or given)

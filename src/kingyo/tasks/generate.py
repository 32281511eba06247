"""Generate and grade: the model writes an answer, graders judge its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.tasks.grader import build_verdict
from kingyo.tasks.kinds import TASK_KINDS, Splits
from kingyo.tasks.split_items import SplitItems
from kingyo.tasks.text import TextSettings
from kingyo.types import CutAware, Example, GeneratesText, Item, ItemScore, Split, Written


@TASK_KINDS.register("generate")
class GenerateTask:
    """A task whose answers are written by the model.

    Args:
        name: unique within a run.
        settings: how the model is asked, and which graders judge its answers.
        splits: the items of each split.
        folder: where the graders' files are looked up.

    Raises:
        KingyoError: an unknown grader or option, or an item that the graders could never grade.
    """

    Settings = TextSettings
    needs = GeneratesText

    def __init__(self, name: str, settings: TextSettings, splits: Splits, folder: Path) -> None:
        self._name = name
        self._settings = settings
        self._items = SplitItems(splits)
        self._verdict = build_verdict(settings.graders, folder, settings.grader_timeout)
        self._verdict.check(self._items.all())

    @property
    def name(self) -> str:
        """Unique within a run."""
        return self._name

    def items(self, split: Split) -> Sequence[Item]:
        """The items of a split, in a fixed order.

        Raises:
            KingyoError: there is no such split.
        """
        return self._items.of(split)

    def score(self, model: GeneratesText, items: Sequence[Item]) -> Sequence[ItemScore]:
        """Score each item, in the order given.

        Raises:
            KingyoError: a grader failed, or the model returned another number of answers.
        """
        answers = self._written(model, items)
        if len(answers) != len(items):
            raise KingyoError(
                "model",
                expected=f"{len(items)} answers",
                received=f"{len(answers)}",
                remedy="Let the model's generate return one text for each prompt, in their order.",
            )
        scores = self._verdict.grade([(each.text, item) for each, item in zip(answers, items, strict=True)])
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
        """Return each item's own answer, if the graders give it full marks, or the given ones.

        The first stop string follows an answer.
        """
        end = self._settings.stop[0] if self._settings.stop else ""
        return tuple(
            Example(item=item.id, prompt=self._prompt(model, item), answer=answer + end)
            for item in items
            for answer in self._right(item, answers.get(item.id, ()), prefers_given=prefers_given)
        )

    def _right(self, item: Item, given: Sequence[str], *, prefers_given: bool) -> Sequence[str]:
        is_right = bool(item.answer) and self._verdict(item.answer, item) == 1
        own = [item.answer] if is_right else []
        return (given or own) if prefers_given else (own or given)

    def _written(self, model: GeneratesText, items: Sequence[Item]) -> Sequence[Written]:
        """Ask the model. Where it cannot say which answers were cut, none counts as cut."""
        prompts, settings = [self._prompt(model, item) for item in items], self._settings
        if isinstance(model, CutAware):
            return model.write(prompts, max_new_tokens=settings.max_new_tokens, stop=settings.stop)
        answers = model.generate(prompts, max_new_tokens=settings.max_new_tokens, stop=settings.stop)
        return [Written(text, is_cut=False) for text in answers]

    def _prompt(self, model: GeneratesText, item: Item) -> str:
        return model.chat_prompt(item.prompt) if self._settings.chat else item.prompt

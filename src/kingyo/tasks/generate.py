"""Generation tasks: the model writes an answer, and graders score its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.tasks.grader import build_verdict
from kingyo.tasks.split_items import SplitItems
from kingyo.tasks.task_kinds import TASK_KINDS, Splits
from kingyo.tasks.text import TextSettings
from kingyo.types import CutAware, Example, GeneratesText, Item, ItemScore, Split, Written


@TASK_KINDS.register("generate")
class GenerateTask:
    """A task in which the model writes each answer.

    Args:
        name: unique within a run.
        settings: the prompt and its options, and the graders.
        splits: the items of each split.
        folder: base of relative paths to the graders' files.

    Raises:
        KingyoError: an unknown grader or option, or an item that a grader cannot grade.
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
        """The task's name, unique within a run."""
        return self._name

    def items(self, split: Split) -> Sequence[Item]:
        """Return the items of a split, in a fixed order.

        Raises:
            KingyoError: the split does not exist.
        """
        return self._items.of(split)

    def score(self, model: GeneratesText, items: Sequence[Item]) -> Sequence[ItemScore]:
        """Return the score of each item, in the order of ``items``.

        Raises:
            KingyoError: a grader failed, or the model returned too few or too many answers.
        """
        answers = self._answers(model, items)
        if len(answers) != len(items):
            raise KingyoError(
                "model",
                expected=f"{len(items)} answers",
                received=f"{len(answers)}",
                remedy="Make the model's `generate` return one text per prompt, in order.",
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
        """Return an example per training answer, followed by the first stop string.

        An item's training answers are its own answer, if it gets full marks, or else those of ``answers``;
        ``prefers_given`` reverses the order.
        """
        end = self._settings.stop[0] if self._settings.stop else ""
        return tuple(
            Example(item=item.id, prompt=self._prompt(model, item), answer=answer + end)
            for item in items
            for answer in self._training_answers(item, answers.get(item.id, ()), prefers_given=prefers_given)
        )

    def _training_answers(self, item: Item, given: Sequence[str], *, prefers_given: bool) -> Sequence[str]:
        is_right = bool(item.answer) and self._verdict(item.answer, item) == 1
        own = [item.answer] if is_right else []
        return (given or own) if prefers_given else (own or given)

    def _answers(self, model: GeneratesText, items: Sequence[Item]) -> Sequence[Written]:
        """Return the model's answers; if it does not report cut answers, none counts as cut."""
        prompts, settings = [self._prompt(model, item) for item in items], self._settings
        if isinstance(model, CutAware):
            return model.write(prompts, max_new_tokens=settings.max_new_tokens, stop=settings.stop)
        answers = model.generate(prompts, max_new_tokens=settings.max_new_tokens, stop=settings.stop)
        return [Written(text, is_cut=False) for text in answers]

    def _prompt(self, model: GeneratesText, item: Item) -> str:
        return model.chat_prompt(item.prompt) if self._settings.chat else item.prompt

"""The kinds of tasks with text answers: in ``generate`` the model writes each, in ``choice`` it picks one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kingyo.core.types import CutAware, Example, GeneratesText, Item, ItemScore, RatesText, Written
from kingyo.errors import KingyoError
from kingyo.tasks.graders import graders_of_task
from kingyo.tasks.graders.grader import build_grader
from kingyo.tasks.graders.texts import Choice
from kingyo.tasks.kinds import TASK_KINDS, Splits, SplitTask
from kingyo.tasks.text import TextSettings


class TextTask(SplitTask):
    """The base of tasks in which the model writes each answer, or picks the most likely of an item's choices.

    Args:
        name: unique within a run.
        settings: the prompt and its options, and the graders.
        splits: the items of each split.
        folder: base of relative paths to the graders' files.
    """

    Settings: type[TextSettings] = TextSettings

    def __init__(self, name: str, settings: TextSettings, splits: Splits, folder: Path) -> None:
        super().__init__(name, splits)
        self._settings = settings
        self._choice = _choice_of(settings, folder) if self.picks() else None
        if self._choice is None:
            self._graders = graders_of_task(settings, folder)
            self._graders.check([each for item in self.all_items() for each in self.references(item)])
        else:
            for item in self.all_items():
                self._choice.check(item)

    def picks(self) -> bool:
        """Return whether the model picks one of an item's choices."""
        raise NotImplementedError

    def prompt(self, model: Any, item: Item) -> Any:
        """Return the question of an item as the model reads it."""
        return model.chat_prompt(item.prompt) if self._settings.chat else item.prompt

    def write(self, model: Any, prompts: Sequence[Any]) -> Sequence[Written]:
        """Return the model's answers; if it does not report cut answers, none counts as cut."""
        most, stop = self._settings.max_new_tokens, self._settings.stop
        if isinstance(model, CutAware):
            return model.write(prompts, max_new_tokens=most, stop=stop)
        texts = model.generate(prompts, max_new_tokens=most, stop=stop)
        return [Written(text, is_cut=False) for text in texts]

    def rate(self, model: Any, pairs: Sequence[tuple[Any, str]]) -> Sequence[float]:
        """Return log p(continuation | prompt) of each pair of prompt and continuation."""
        return model.log_likelihood(pairs)

    def references(self, item: Item) -> list[Item]:
        """Return the item once per right answer; an answer gets its best score among them."""
        return [item]

    def score(self, model: Any, items: Sequence[Item]) -> Sequence[ItemScore]:
        prompts = [self.prompt(model, item) for item in items]
        if self._choice is not None:
            between = self._choice.separator
            rows = zip(prompts, items, strict=True)
            pairs = [(prompt, between + choice) for prompt, item in rows for choice in item.choices]
            return self._choice.scores(items, self.rate(model, pairs))
        written, references = self.write(model, prompts), [self.references(item) for item in items]
        answers = [each.text for each, own in zip(written, references, strict=True) for _ in own]
        grades = iter(self._graders.grade(answers, [each for own in references for each in own]))
        return tuple(
            ItemScore(item=item.id, score=max(next(grades) for _ in own), answer=text, is_cut=is_cut)
            for item, (text, is_cut), own in zip(items, written, references, strict=True)
        )

    def examples(
        self,
        model: Any,
        items: Sequence[Item],
        answers: Mapping[str, Sequence[str]],
        *,
        prefers_given: bool,
    ) -> Sequence[Example]:
        """Return an example per item with choices, or per training answer, followed by the first stop string.

        An item's training answers are its own answer, if it gets full marks, or else those of ``answers``;
        ``prefers_given`` reverses the order.
        """
        end, examples = self._settings.stop[0] if self._settings.stop else "", list[Example]()
        for item in items:
            prompt = self.prompt(model, item)
            text, images = (prompt, ()) if isinstance(prompt, str) else (prompt.text, prompt.images)
            if self._choice is not None:
                examples.append(self._choice.example(item, text))
                continue
            given, own = answers.get(item.id, ()), [item.answer] if self._is_right(item) else []
            examples += (
                Example(item=item.id, prompt=text, images=images, answer=answer + end)
                for answer in ((given or own) if prefers_given else (own or given))
            )
        return tuple(examples)

    def _is_right(self, item: Item) -> bool:
        return bool(item.answer) and any(
            self._graders.score(item.answer, each) == 1 for each in self.references(item)
        )


@TASK_KINDS.register("generate")
class GenerateTask(TextTask):
    """A task in which the model writes each answer."""

    needs = GeneratesText

    def picks(self) -> bool:
        return False


@TASK_KINDS.register("choice")
class ChoiceTask(TextTask):
    """A task in which the model picks the most likely of an item's choices after the prompt."""

    needs = RatesText

    def picks(self) -> bool:
        return True


def _choice_of(settings: TextSettings, folder: Path) -> Choice:
    (name, option), *others = settings.graders
    choice = build_grader(name, option, folder)
    if not isinstance(choice, Choice) or others:
        expected = "`choice` as the only grader of a multiple-choice task"
        remedy = "Write `grader: choice`, or set kind: generate."
        raise KingyoError("grader", expected, ", ".join(name for name, _ in settings.graders), remedy)
    return choice

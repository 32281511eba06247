"""The kinds of tasks that read text: the model writes an answer, or picks a choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.tasks.grader import build_grader, register_grader
from kingyo.tasks.task_kinds import TASK_KINDS, Splits, SplitTask
from kingyo.tasks.text import TextSettings
from kingyo.tasks.verdict import build_verdict
from kingyo.types import CutAware, Example, GeneratesText, Item, ItemScore, RatesText, Written


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
        self._verdict = build_verdict(settings.graders, folder, settings.grader_timeout)
        self._verdict.check(self.all_items())

    def score(self, model: GeneratesText, items: Sequence[Item]) -> Sequence[ItemScore]:
        """Return the score of each item, in the order of ``items``."""
        answers = self._answers(model, items)
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
            for answer in training_answers(
                item, self._verdict, answers.get(item.id, ()), prefers_given=prefers_given
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


@register_grader("choice")
@dataclass(frozen=True, kw_only=True)
class Choice:
    """Right if the most likely choice is the answer.

    Attributes:
        normalise: divide each log-likelihood by the choice's length in UTF-8 bytes, so that long choices do
            not lose to short ones (Gao 2021, blog.eleuther.ai/multiple-choice-normalization). Unlike tokens,
            bytes are the same for all models.
        separator: text between prompt and choice; usually one space in languages that use spaces.
    """

    normalise: bool = True
    separator: str = ""

    def __call__(self, answer: str, item: Item) -> float:
        """Return 1 if the chosen text is the answer, else 0."""
        return float(answer == item.answer)

    def check(self, item: Item) -> None:
        """Check that the item's answer is one of its choices."""
        if item.answer not in item.choices:
            raise KingyoError(
                f"answer of item {item.id}",
                expected=f"one of the choices {list(item.choices)}",
                received=repr(item.answer),
                remedy="Set answer: to the column of the right choice, or use a choice as the answer.",
            )

    def best(self, item: Item, likelihoods: Sequence[float]) -> str:
        """Return the choice with the highest score; ties go to the first."""
        scores = [
            likelihood / len(choice.encode()) if self.normalise else likelihood
            for choice, likelihood in zip(item.choices, likelihoods, strict=True)
        ]
        return item.choices[scores.index(max(scores))]

    def scores(self, items: Sequence[Item], likelihoods: Sequence[float]) -> Sequence[ItemScore]:
        """Return the score of each item, given the log-likelihoods of all its choices, item by item."""
        left = iter(likelihoods)
        answers = [self.best(item, [next(left) for _ in item.choices]) for item in items]
        return tuple(
            ItemScore(item=item.id, score=self(answer, item), answer=answer)
            for item, answer in zip(items, answers, strict=True)
        )

    def example(self, item: Item, prompt: str) -> Example:
        """Return an example: the right choice after a prompt, with the images of the item."""
        others = dict.fromkeys(self.separator + each for each in item.choices if each != item.answer)
        return Example(
            item=item.id,
            prompt=prompt,
            images=item.media,
            answer=self.separator + item.answer,
            others=tuple(others),
            per_byte=self.normalise,
        )


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
        """Return the score of each item, in the order of ``items``."""
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
        """Return one example per item: its right choice, with the wrong ones as ``others``."""
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
        raise KingyoError(
            "grader",
            expected="`choice` as the only grader of a multiple-choice task",
            received=", ".join(name for name, _ in settings.graders),
            remedy="Write `grader: choice`, or set kind: generate.",
        )
    return choice

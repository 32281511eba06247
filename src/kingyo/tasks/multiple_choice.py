"""Multiple-choice tasks: the answer is the choice that the model finds most likely after the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kingyo.errors import KingyoError
from kingyo.tasks.grader import CombinedGrader, build_grader, register_grader
from kingyo.tasks.split_items import SplitItems
from kingyo.tasks.task_kinds import TASK_KINDS, Splits
from kingyo.tasks.text import TextSettings
from kingyo.types import Example, Item, ItemScore, RatesText, Split


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


@TASK_KINDS.register("choice")
class ChoiceTask:
    """A task in which the model picks each answer from the item's choices.

    Args:
        name: unique within a run.
        settings: the prompt and its options; ``choice`` is the only grader.
        splits: the items of each split.
        folder: base of relative paths.

    Raises:
        KingyoError: another grader, an invalid option, or an item whose answer is not one of its choices.
    """

    Settings = TextSettings
    needs = RatesText

    def __init__(self, name: str, settings: TextSettings, splits: Splits, folder: Path) -> None:
        self._name = name
        self._items = SplitItems(splits)
        self._choice = choice = _choice_of(settings, folder)
        self._chat = settings.chat
        self._verdict = CombinedGrader(graders=(("choice", choice),))
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

    def score(self, model: RatesText, items: Sequence[Item]) -> Sequence[ItemScore]:
        """Return the score of each item, in the order of ``items``."""
        pairs = [(prompt, choice) for item in items for prompt, choice in self._pairs(model, item)]
        likelihoods = iter(model.log_likelihood(pairs))
        scores: list[ItemScore] = []
        for item in items:
            answer = self._choice.best(item, [next(likelihoods) for _ in item.choices])
            scores.append(ItemScore(item=item.id, score=self._verdict(answer, item), answer=answer))
        return tuple(scores)

    def examples(
        self,
        model: RatesText,
        items: Sequence[Item],
        answers: Mapping[str, Sequence[str]],  # noqa: ARG002 (part of the protocol)
        *,
        prefers_given: bool,  # noqa: ARG002
    ) -> Sequence[Example]:
        """Return one example per item: its right choice, with the wrong ones as ``others``."""
        return tuple(self._example(model, item) for item in items)

    def _example(self, model: RatesText, item: Item) -> Example:
        choices = dict(zip(item.choices, self._pairs(model, item), strict=True))
        prompt, answer = choices.pop(item.answer)
        others = tuple(text for _, text in choices.values())
        return Example(
            item=item.id, prompt=prompt, answer=answer, others=others, per_byte=self._choice.normalise
        )

    def _pairs(self, model: RatesText, item: Item) -> list[tuple[str, str]]:
        prompt = model.chat_prompt(item.prompt) if self._chat else item.prompt
        return [(prompt, self._choice.separator + choice) for choice in item.choices]


def _choice_of(settings: TextSettings, folder: Path) -> Choice:
    if [name for name, _ in settings.graders] != ["choice"]:
        raise KingyoError(
            "grader",
            expected="`choice` as the only grader of a multiple-choice task",
            received=", ".join(name for name, _ in settings.graders),
            remedy="Write `grader: choice`, or set kind: generate.",
        )
    choice = build_grader("choice", settings.graders[0][1], folder)
    if not isinstance(choice, Choice):
        raise TypeError("the registry's grader 'choice' is not Choice")
    return choice

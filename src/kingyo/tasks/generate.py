"""Kinds of tasks with answers in text: ``generate``, ``choice``, and ``vqa`` about images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field

from kingyo.core.io.schema import Number
from kingyo.core.types import (
    AnswersImages,
    CutAware,
    Decoding,
    Example,
    GeneratesText,
    ImagePrompt,
    Item,
    ItemScore,
    RatesText,
    Written,
)
from kingyo.errors import KingyoError
from kingyo.tasks.graders import graders_of_task
from kingyo.tasks.graders.grader import build_grader
from kingyo.tasks.graders.texts import Choice
from kingyo.tasks.kinds import TASK_KINDS, Splits, SplitTask, Text, TextSettings, read_text_item
from kingyo.tasks.rows import Row, parse_list, stringify, with_images


class TextTask(SplitTask):
    """The base of tasks in which the model writes each answer, or picks one of an item's choices."""

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

        An item's training answers are its own, if right, or else those of ``answers``; ``prefers_given``
        reverses the order.
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
        expected, received = "`choice` as the only grader", ", ".join(name for name, _ in settings.graders)
        raise KingyoError("grader", expected, received, "Write `grader: choice`, or set kind: generate.")
    return choice


@dataclass(frozen=True, kw_only=True)
class VqaSettings(TextSettings):
    """The options of ``vqa``: those of ``generate`` and of images; see ``docs/vision-language.md``."""

    prompt: Text = "{question}"
    chat: bool = True
    images: Text | tuple[Text, ...] = "images"
    answers: Text | None = None
    image_folder: Text = "."
    placeholder: Text | None = None
    num_beams: Annotated[int, Field(ge=1, le=64, strict=True)] = 1
    repetition_penalty: Annotated[Number, Field(gt=0, le=10)] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.choices is not None and self.answers is not None:
            raise ValueError("`answer:` instead of `answers:`, because one of the choices is right")
        columns = (self.images,) if isinstance(self.images, str) else self.images
        if not columns or len(set(columns)) < len(columns):
            raise ValueError("one or more different columns as `images:`")

    def of_stored_items(self) -> VqaSettings:
        return replace(self, questions=None, image_folder=".")


@TASK_KINDS.register("vqa")
class VqaTask(TextTask):
    """Visual question answering: questions about one or several images."""

    Settings = VqaSettings
    needs = AnswersImages
    _settings: VqaSettings

    @staticmethod
    def read_item(row: Row, settings: VqaSettings) -> Item:
        item = _read_answered(row, settings)
        if settings.placeholder is not None:
            item = replace(item, prompt=item.prompt.replace(settings.placeholder, "").strip())
        beside_images = replace(row, folder=row.folder / settings.image_folder)
        return with_images(item, beside_images, settings.images)

    def picks(self) -> bool:
        return self._settings.choices is not None

    def prompt(self, model: AnswersImages, item: Item) -> ImagePrompt:
        return model.image_prompt(item.prompt, item.media, chat=self._settings.chat)

    def write(self, model: AnswersImages, prompts: Sequence[ImagePrompt]) -> Sequence[Written]:
        settings = self._settings
        return model.write_about(
            prompts,
            max_new_tokens=settings.max_new_tokens,
            stop=settings.stop,
            decoding=Decoding(settings.num_beams, settings.repetition_penalty),
        )

    def rate(self, model: AnswersImages, pairs: Sequence[tuple[ImagePrompt, str]]) -> Sequence[float]:
        return model.log_likelihood_about(pairs)

    def references(self, item: Item) -> list[Item]:
        if self._settings.answers is None:
            return [item]
        answers = cast("list[str]", json.loads(item.fields[self._settings.answers]))
        return [replace(item, answer=answer) for answer in answers]


def _read_answered(row: Row, settings: VqaSettings) -> Item:
    if settings.answers is None:
        return read_text_item(row, settings)
    answers = _answers(row, settings.answers)
    item = read_text_item(row, replace(settings, answer=None))
    fields = {**item.fields, settings.answers: json.dumps(answers, ensure_ascii=False)}
    return replace(item, answer=answers[0], fields=fields)


def _answers(row: Row, column: str) -> list[str]:
    """Return the distinct right answers of a row; those of VQAv2 are mappings with a key ``answer``."""
    cell = parse_list(row.cell(column, "answers"))
    cells = cast("Sequence[object]", cell) if isinstance(cell, list | tuple) else [cell]
    answers = list(dict.fromkeys(_text(each).strip() for each in cells))
    if not answers or "" in answers:
        expected = "a list of one or more answers"
        remedy = "Fill it in, or delete this row."
        raise KingyoError(f"{row.where}: {column}", expected, repr(answers)[:80], remedy)
    return answers


def _text(answer: object) -> str:
    if isinstance(answer, Mapping):
        answer = cast("Mapping[str, object]", answer).get("answer")
    return stringify(answer)

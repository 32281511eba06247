"""The kind of task that asks questions about images: the model writes an answer, or picks a choice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, cast

from pydantic import Field

from kingyo.core.io.schema import Number
from kingyo.core.types import AnswersImages, Decoding, ImagePrompt, Item, Written
from kingyo.errors import KingyoError
from kingyo.tasks.generate import TextTask
from kingyo.tasks.kinds import TASK_KINDS, Text
from kingyo.tasks.media import with_images
from kingyo.tasks.rows import Row, parse_list, stringify
from kingyo.tasks.text import TextSettings, read_text_item


@dataclass(frozen=True, kw_only=True)
class VqaSettings(TextSettings):
    """The options of ``vqa``: those of ``generate``, and the columns of images and of several answers.

    Attributes:
        prompt: template of the question. Without ``chat`` it may hold the model's placeholders of images.
        chat: apply the model's chat template, with the images before the question.
        images: the column of the images, or several columns.
        num_beams: number of beams; 1 is greedy.
        repetition_penalty: above 1, tokens that occurred before, also in the prompt, become less likely.
        answers: the column of all right answers, a list; an answer gets the best score among them.
        image_folder: folder of the paths of images, relative to that of the data.
        placeholder: text that stands for an image in the questions, such as ``<image>``; it is removed,
            because the images come first.
    """

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
        """Return the settings for rows that hold stored items: one question each, with paths of images."""
        return replace(self, questions=None, image_folder=".")


@TASK_KINDS.register("vqa")
class VqaTask(TextTask):
    """Visual question answering: questions about one or several images."""

    Settings = VqaSettings
    needs = AnswersImages
    _settings: VqaSettings

    @staticmethod
    def read_item(row: Row, settings: VqaSettings) -> Item:
        """Return a row as an item, with its images."""
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

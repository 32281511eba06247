"""The kind of task that asks for images: an item is a prompt and the seed of its noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from pydantic import Field

from kingyo.core.io.extras import is_installed, library
from kingyo.core.io.schema import Number
from kingyo.core.types import Drawing, DrawingPrompt, DrawsImages, Item, ItemScore, SetMeasure
from kingyo.errors import KingyoError
from kingyo.tasks.graders import graders_of_task
from kingyo.tasks.kinds import TASK_KINDS, GradedSettings, Splits, SplitTask, Text, fill_template
from kingyo.tasks.references import ReferenceSettings, image_measures
from kingyo.tasks.rows import Row, stringify

SEED = "seed"
MAX_SEED = 2**32 - 1
Steps = Annotated[int, Field(ge=1, le=1000, strict=True)]
Side = Annotated[int, Field(ge=8, le=8192, strict=True)]


@dataclass(frozen=True, kw_only=True)
class DrawSettings(GradedSettings):
    """The options of ``draw``, see ``docs/pictures.md``; most are those of ``kingyo.core.types.Drawing``."""

    grades = "images"

    prompt: Text = "{prompt}"
    seed: Text | None = None
    seeds: Annotated[int, Field(ge=1, le=10_000, strict=True)] = 1
    steps: Steps = 20
    guidance_scale: Annotated[Number, Field(ge=0, le=100)] | None = None
    negative_prompt: str = ""
    height: Side | None = None
    width: Side | None = None
    scheduler: Mapping[str, object] = field(default_factory=dict[str, object])
    arguments: Mapping[str, object] = field(default_factory=dict[str, object])
    truncate: Annotated[bool, Field(strict=True)] = False
    references: ReferenceSettings | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.height is None) != (self.width is None):  # some pipelines ignore one alone
            raise ValueError("height and width, or neither")

    def measure_name(self, measure: str) -> str:
        """Return the full name of a measure that ``measure:`` of the task names, such as ``kid``."""
        if self.references is None:
            expected = f"a folder of images to compare with, since `measure` is {measure}"
            remedy = "Add `references: {folder: …}`, or delete `measure`."
            raise KingyoError("references", expected, "nothing", remedy)
        return self.references.title(measure)

    def of_stored_items(self) -> DrawSettings:
        return replace(self, seed=SEED, seeds=1)

    def unfolded(self, row: Row) -> Iterator[Row]:
        if self.seed is not None:
            first = _seed_in(row, self.seed)
        else:
            prompt = fill_template(self.prompt, row.texts(), row.where)
            first = int.from_bytes(sha256(prompt.encode()).digest()[:4], "big")
        for number in range(self.seeds):
            columns = {**row.columns, SEED: (first + number) % (MAX_SEED + 1)}
            yield replace(row, columns=columns, unfolded=row.where)

    @property
    def drawing(self) -> Drawing:
        return Drawing(**{each.name: getattr(self, each.name) for each in fields(Drawing)})


@TASK_KINDS.register("draw")
class DrawTask(SplitTask):
    """Images of prompts. All candidates start from the same noise, so that differences are paired."""

    Settings = DrawSettings
    needs = DrawsImages

    def __init__(self, name: str, settings: DrawSettings, splits: Splits, folder: Path) -> None:
        super().__init__(name, splits)
        for module in ("PIL",) if is_installed("diffusers") else ("diffusers",):
            library(f"task {name}", module)
        self._drawing = settings.drawing
        self._graders = graders_of_task(settings, folder)
        self._graders.check(self.all_items())
        references = settings.references
        self.set_measures: Sequence[SetMeasure] = (
            () if references is None else image_measures(references, folder)
        )

    @staticmethod
    def read_item(row: Row, settings: DrawSettings) -> Item:
        prompt = fill_template(settings.prompt, row.texts(), row.where)
        if not prompt.strip():
            raise KingyoError(row.where, "a prompt", "an empty text", "Fill it in, or delete it.")
        return Item(id="", prompt=prompt, answer="", fields=row.texts(), seed=_seed_in(row, SEED))

    def score(self, model: DrawsImages, items: Sequence[Item]) -> Sequence[ItemScore]:
        images = model.draw([DrawingPrompt(item.prompt, item.seed or 0) for item in items], self._drawing)
        scores = self._graders.grade(images, items)
        return tuple(
            ItemScore(item=item.id, score=score, answer="", media=image)
            for item, score, image in zip(items, scores, images, strict=True)
        )


def _seed_in(row: Row, column: str) -> int:
    text = stringify(row.cell(column, SEED)).strip()
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_SEED):
        expected = f"a whole number from 0 to {MAX_SEED}"
        remedy = "Write a seed, or remove `seed:` from the task."
        raise KingyoError(f"{row.where}: {column}", expected, f"{text!r:.80}", remedy)
    return int(text)

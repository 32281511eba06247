"""What models learn from items with images: right answers, the right choice, the label."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kingyo.core.types import SPLITS, Example, ImagePrompt, Item, Media
from kingyo.tasks import build_tasks, examples_of, load_splits, parse_task_spec
from tests.tasks.pictures import picture


class Model:
    """Shows images as marks; its classes are animals."""

    classes = ("cat", "dog", "fish")

    def image_prompt(self, message: str, images: Sequence[Media], *, chat: bool) -> ImagePrompt:
        return ImagePrompt("*" * len(images) + message + (">" if chat else ""), tuple(images))


def examples(
    folder: Path,
    row: dict[str, object],
    found: Sequence[str] = (),
    *,
    prefers_given: bool = False,
    **keys: Any,
) -> tuple[list[Item], list[Example]]:
    """Return the items of a task, whose rows differ in the image only, and their examples."""
    for n in range(6):
        (folder / f"{n}.png").write_bytes(picture(n))
    rows = [{**row, "images": f"{n}.png", "id": n} for n in range(6)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    spec = parse_task_spec({"name": "t", "data": "rows.jsonl", **keys})
    task = build_tasks({"t": spec}, load_splits({"t": spec}, folder).splits, folder)
    items = [item for split in SPLITS for item in task.items(split)]
    given = {item.id: found for item in items} if found else {}
    return items, list(examples_of(task, Model(), items, given, prefers_given=prefers_given))


def test_a_right_answer_about_images(tmp_path: Path) -> None:
    row: dict[str, object] = {"question": "what?", "answers": ["red", "a red one"]}
    items, found = examples(
        tmp_path, row, kind="vqa", grader="exact", answers="answers", stop=["\n"], max_new_tokens=4
    )
    assert found == [
        Example(item=item.id, prompt="*what?>", images=item.media, answer="red\n") for item in items
    ]


@pytest.mark.parametrize(
    ("prefers_given", "reference", "learned"),
    [(False, "red", ["red"]), (True, "red", ["it is red"]), (False, "no number", ["it is red"])],
)
def test_answers_that_models_gave(
    tmp_path: Path, prefers_given: bool, reference: str, learned: list[str]
) -> None:
    """A reference that the grader calls wrong is no target."""
    row: dict[str, object] = {"question": "what?", "answer": reference}
    _, found = examples(
        tmp_path,
        row,
        ["it is red"],
        prefers_given=prefers_given,
        kind="vqa",
        grader={"regex": "red"},
        max_new_tokens=4,
    )
    assert [each.answer for each in found] == learned * 6


def test_a_choice_about_images(tmp_path: Path) -> None:
    row: dict[str, object] = {"question": "what?", "answer": "red", "choices": ["blue", "red", "grey"]}
    items, found = examples(tmp_path, row, kind="vqa", choices="choices", grader="choice", chat=False)
    assert {each.answer for each in found} == {"red"} and found[0].others == ("blue", "grey")
    assert [each.images for each in found] == [item.media for item in items]
    assert found[0].prompt == "*what?" and found[0].per_byte


@pytest.mark.parametrize(("classes", "others"), [([], ("0", "2")), (["dog", "fish"], ("2",))])
def test_the_label_among_the_classes(tmp_path: Path, classes: list[str], others: tuple[str, ...]) -> None:
    items, found = examples(tmp_path, {"label": "dog"}, kind="classify", image="images", classes=classes)
    assert [(each.answer, each.others) for each in found] == [("1", others)] * 6
    assert [each.images for each in found] == [item.media for item in items]

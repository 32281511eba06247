"""The rows of published sets become items with the keys that docs/vision-language.md lists.

The shapes are those of the data set cards on the Hub: JA-VG-VQA-500, JA-VLM-Bench-In-the-Wild and
JA-Multi-Image-VQA of SakanaAI, VQAv2 of lmms-lab, Japanese-Heron-Bench of Silviase (a table) and of
turing-motors (a file of JSON Lines and a folder of images). Texts and images are made up.
"""

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from kingyo.core.types import Item
from kingyo.errors import KingyoError
from kingyo.tasks import load_items, parse_task_spec
from tests.tasks.pictures import picture

PAGE = (Path(__file__).parents[2] / "docs" / "vision-language.md").read_text("utf-8")
KEYS = {
    name: yaml.safe_load(f"{{{keys}}}")
    for name, keys in re.findall(r"^\| \[(\S+)\]\(\S+\) .* \| `(.*)` \|$", PAGE, re.M)
}
LEAST = {"kind": "vqa", "grader": "exact"}


@dataclass(frozen=True, kw_only=True)
class Published:
    """A row of a published set, and the items that it should become.

    Attributes:
        row: the row, with images as bytes, and without the fields that no key of the page reads or resembles.
        items: (prompt, answer) of each item.
        fields: fields that each item has.
    """

    row: Mapping[str, Any]
    items: tuple[tuple[str, str], ...]
    fields: Mapping[str, str] = field(default_factory=dict[str, str])


SCENES = Published(
    row={
        "image_id": 2317,
        "url": "https://example.org/2317.jpg",
        "coco_id": None,
        "qas": [
            {"a_objects": [], "answer": "赤", "q_objects": [], "qa_id": 7, "question": "何色ですか？"},
            {"a_objects": [], "answer": "道路", "q_objects": [], "qa_id": 8, "question": "どこですか？"},
        ],
        "image": picture(1, "JPEG"),
    },
    items=(("何色ですか？", "赤"), ("どこですか？", "道路")),
    fields={"image_id": "2317"},
)
WILD = Published(
    row={
        "image_url": "https://example.org/a.jpg",
        "image": picture(2, "JPEG"),
        "question": "この建物は何ですか？",
        "answer": "お城です。",
    },
    items=(("この建物は何ですか？", "お城です。"),),
)
SEVERAL = Published(
    row={
        "images": [picture(3, "JPEG"), picture(4, "JPEG")],
        "image_urls": ["https://example.org/a.jpg", "https://example.org/b.jpg"],
        "question": "<image> <image> 2枚の違いは何ですか？",
        "answer": "色が違います。",
    },
    items=(("2枚の違いは何ですか？", "色が違います。"),),
)
HERON_TABLE = Published(
    row={
        "question_id": 2,
        "image": picture(5, "JPEG"),
        "context": "青い鳥の羽が2枚ある。",
        "text": "鳥の羽の色は何色でしょうか？",
        "answer": {"gpt-4-0125-preview": "鳥の羽の色は青色です。", "gpt-4-vision-preview": "青"},
    },
    items=(("鳥の羽の色は何色でしょうか？", "鳥の羽の色は青色です。"),),
)
HERON_LINES = Published(
    row={
        "question_id": 2,
        "images": picture(5, "JPEG"),
        "prompt": "鳥の羽の色は何色でしょうか？",
        "answer_id": "",
        "model_id": "gpt-4-0125-preview",
        "text": "鳥の羽の色は青色です。",
    },
    items=(("鳥の羽の色は何色でしょうか？", "鳥の羽の色は青色です。"),),
)
VQAV2 = Published(
    row={
        "multiple_choice_answer": "red",
        "answers": [
            {"answer": answer, "answer_confidence": "yes", "answer_id": number}
            for number, answer in enumerate(("red", "red", "dark red", "red"), start=1)
        ],
        "image_id": 262148,
        "question": "What color is the mat?",
        "image": picture(6, "JPEG"),
    },
    items=(("What color is the mat?", "red"),),
    fields={"answers": '["red", "dark red"]'},
)
SETS = {
    "SakanaAI/JA-VG-VQA-500": SCENES,
    "SakanaAI/JA-VLM-Bench-In-the-Wild": WILD,
    "SakanaAI/JA-Multi-Image-VQA": SEVERAL,
    "Silviase/Japanese-Heron-Bench": HERON_TABLE,
    "turing-motors/Japanese-Heron-Bench": HERON_LINES,
    "lmms-lab/VQAv2": VQAV2,
}


def items_of(folder: Path, **keys: object) -> tuple[Item, ...]:
    return load_items(parse_task_spec({**LEAST, "data": "rows.jsonl", **keys}), folder).items


def check(items: tuple[Item, ...], published: Published) -> None:
    assert tuple((item.prompt, item.answer) for item in items) == published.items
    contents = [each for cell in published.row.values() for each in images_in(cell)]
    for item in items:
        assert [each.read() for each in item.media] == contents
        assert item.fields.items() >= published.fields.items()


def images_in(cell: object) -> list[bytes]:
    return [each for each in (cell if isinstance(cell, list) else [cell]) if isinstance(each, bytes)]


def write_lines(folder: Path, *rows: Mapping[str, Any], images: str = ".") -> None:
    """Write rows as JSON Lines, with their images as files in a folder."""
    (folder / images).mkdir(exist_ok=True)
    names: dict[bytes, str] = {}

    def name(content: bytes) -> str:
        names[content] = f"{len(names):03}.jpg"
        (folder / images / names[content]).write_bytes(content)
        return names[content]

    def written(cell: Any) -> Any:
        if isinstance(cell, list):
            return [written(each) for each in cell]
        return name(cell) if isinstance(cell, bytes) else cell

    lines = [json.dumps({key: written(cell) for key, cell in row.items()}) for row in rows]
    (folder / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize("name", SETS)
def test_a_row_becomes_items_with_the_keys_of_the_page(name: str, tmp_path: Path) -> None:
    assert list(KEYS) == list(SETS)
    published, keys = SETS[name], KEYS[name]
    write_lines(tmp_path, published.row, images=keys.get("image_folder", "."))
    check(items_of(tmp_path, **keys), published)


ONE = {"image": picture(1), "qas": [{"question": "何色？", "answer": "赤"}]}
LINE, QAS = "rows.jsonl line 1", {"questions": "qas"}


@pytest.mark.parametrize(
    ("row", "keys", "where", "named"),
    [
        (ONE, {"questions": "qa"}, f"{LINE}: questions", "Did you mean 'qas'"),
        ({**ONE, "qas": ["何色？"]}, QAS, f"{LINE}, qas 1", "list of mappings"),
        ({**ONE, "qas": [{"question": "?"}]}, QAS, f"{LINE}, qas 1: answer", "no such"),
        (ONE, {**QAS, "image_folder": "photos"}, f"{LINE}, qas 1: image", "path"),
        (
            {**ONE, "question": "?", "answer": {"gpt-4": "赤"}},
            {"answer": "answer.gpt4"},
            f"{LINE}: answer",
            "Did you mean 'answer.gpt-4'",
        ),
        (ONE, {"question": "qas"}, "task", "Did you mean 'questions'"),
    ],
)
def test_wrong_names_are_errors_with_the_nearest(
    row: Mapping[str, Any], keys: Mapping[str, object], where: str, named: str, tmp_path: Path
) -> None:
    write_lines(tmp_path, row)
    with pytest.raises(KingyoError) as caught:
        items_of(tmp_path, images="image", **keys)
    assert caught.value.argument == where
    assert named in f"{caught.value.received} {caught.value.remedy}"


def test_an_image_without_questions_is_no_item(tmp_path: Path) -> None:
    write_lines(tmp_path, {**ONE, "qas": []}, ONE)
    assert len(items_of(tmp_path, images="image", questions="qas")) == 1


def test_a_question_that_a_row_repeats_counts_once(tmp_path: Path) -> None:
    """People who wrote questions about one image did not see those of others."""
    twice = [{"question": "どこ？", "answer": answer} for answer in ("海", "浜辺")]
    write_lines(tmp_path, {**ONE, "qas": twice})
    assert [item.answer for item in items_of(tmp_path, images="image", **QAS)] == ["海"]
    rows = [{**ONE, "qas": [each]} for each in twice]
    write_lines(tmp_path, *rows)
    with pytest.raises(KingyoError) as caught:
        items_of(tmp_path, images="image", **QAS)
    assert caught.value.argument == "rows.jsonl line 2, qas 1"


def test_a_text_task_may_have_several_questions_per_row(tmp_path: Path) -> None:
    """In CSV, a list is written as JSON."""
    questions = [{"q": "1 + 1", "a": "2"}, {"q": "2 + 2", "a": "4"}]
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("passage", "qas"), ("Sums.", json.dumps(questions))])
    keys = {"prompt": "{passage} {q}", "answer": "a", "questions": "qas"}
    spec = parse_task_spec({"data": "rows.csv", "grader": "exact", **keys})
    items = load_items(spec, tmp_path).items
    assert [(item.prompt, item.answer) for item in items] == [("Sums. 1 + 1", "2"), ("Sums. 2 + 2", "4")]

"""The task files: questions about one picture, and questions that compare pictures of the same files.

Every item asks about boards with a pair of thing and colour that no model was trained on.
"""

from __future__ import annotations

import json
import random
import shutil
from functools import cache
from pathlib import Path

from comparisons import Album
from pictures import render
from PIL import Image, ImageOps
from questions import QUESTIONS, Language, Question, ask, plain
from scenes import Scene, draw_unseen

SPLITS = {"fit": 200, "validation": 150, "test": 500}
SEED = 4002
LANGUAGES: tuple[Language, ...] = ("ja", "en")
Items = dict[str, list[Question]]


@cache
def _shelves() -> tuple[Items, dict[str, list[int]]]:
    """Return the items of each split about one picture, and the row of each; no scene occurs twice."""
    rng, taken = random.Random(SEED), set[Scene]()
    items: Items = {split: [] for split in SPLITS}
    rows: dict[str, list[int]] = {split: [] for split in SPLITS}
    for split, count in SPLITS.items():
        while len(items[split]) < count:
            row = rng.randrange(3)
            scene = draw_unseen(rng, row)
            if scene not in taken:
                taken.add(scene)
                pictures = (len(items[split]),)
                items[split].append(ask(scene, row, rng.choice(QUESTIONS), pictures))
                rows[split].append(row)
    return items, rows


def shelves() -> Items:
    """Return the items about one picture. Item i of a split is about its picture i."""
    return _shelves()[0]


def comparisons() -> Items:
    """Return as many items that compare the things on pictures of the same split; no item occurs twice."""
    items, rows = _shelves()
    rng = random.Random(SEED + 1)
    compared: Items = {}
    for split, singles in items.items():
        album = Album([single.scenes[0] for single in singles], rows[split])
        distinct: dict[tuple[str, tuple[int, ...]], Question] = {}
        while len(distinct) < SPLITS[split]:
            question = album.ask(rng, ("thing",))
            distinct[question.question("ja"), question.pictures] = question
        compared[split] = list(distinct.values())
    return compared


TASKS = {"questions": shelves, "comparisons": comparisons}


def write(folder: Path) -> None:
    """Write the pictures, and the questions of both tasks in Japanese and in English."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images").mkdir(parents=True)
    for split, count in SPLITS.items():
        for i in range(count):
            picture(split, i).save(folder / "images" / f"{split}-{i:03}.png", optimize=True)
    for task, items in TASKS.items():
        for language in LANGUAGES:
            rows = [_row(split, each, language) for split, chosen in items().items() for each in chosen]
            (folder / f"{task}-{language}.jsonl").write_text("".join(rows), encoding="utf-8")


def picture(split: str, i: int) -> Image.Image:
    """Return a picture, the same in every build; without noise and in few colours, to be small."""
    seed = SEED * 1000 + list(SPLITS).index(split) * 10**5 + i
    return ImageOps.posterize(render(shelves()[split][i].scenes[0], seed, noise=0.0), 4)


def _row(split: str, item: Question, language: Language) -> str:
    row = {
        "images": [f"images/{split}-{i:03}.png" for i in item.pictures],
        "question": item.question(language),
        "answer": plain(item.answer(language)),
        "kind": item.kind.name,
        "split": split,
    }
    return json.dumps(row, ensure_ascii=False) + "\n"

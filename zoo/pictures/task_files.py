"""The task files: items of both tasks, the same in English, and folders of reference pictures."""

from __future__ import annotations

import json
import random
from pathlib import Path

from items import SPLITS, Item, items
from judge import label
from pictures import render
from PIL import Image
from recipes import TASKS
from things import COLOURS, MOTIFS, STYLES, TEST

REFERENCES = 6  # pictures of each scene of test


def row(item: Item, split: str, style: str) -> dict[str, str | int]:
    """Return an item as a row of a task file."""
    return {
        "prompt": item.caption,
        "seed": item.seed,
        "answer": label(item.scene, style),
        "motif": MOTIFS[item.scene.motif].en,
        "colour": COLOURS[item.scene.colour].en,
        "number": item.scene.number,
        "style": style,
        "split": split,
    }


def write(folder: Path) -> None:
    """Write the task files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, task in TASKS.items():
        for language in ("ja", "en"):
            rows = [row(item, split, task.style) for split in SPLITS for item in items(split, language)]
            lines = [json.dumps(each, ensure_ascii=False) + "\n" for each in rows]
            (folder / f"{name}-{language}.jsonl").write_text("".join(lines), encoding="utf-8")


def write_references(folder: Path) -> None:
    """Write real pictures of the scenes of test, by style, with which set measures compare drawings."""
    for style in STYLES:
        rng = random.Random(f"references, {style}")
        (folder / style).mkdir(parents=True, exist_ok=True)
        for i in range(REFERENCES * len(TEST)):
            picture = Image.fromarray(render(TEST[i % len(TEST)], rng, printed=style == "print"))
            picture.save(folder / style / f"{i:03d}.png", optimize=True)

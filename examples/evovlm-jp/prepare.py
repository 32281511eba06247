"""Writes this example's data: questions in Japanese about images, for the search and for two tests.

    python examples/evovlm-jp/prepare.py --out DIR

DIR then holds ``items.jsonl`` (images, question, answer, split), ``wild.jsonl``, the folder ``images``, and
copies of ``run.yaml`` and ``wild.yaml``. Needs no model.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import cast

from kingyo.core.types import Item
from kingyo.errors import KingyoError
from kingyo.tasks.graders.language import is_written_in
from kingyo.tasks.rows import DatasetSource, Row, read_rows, with_images

VG = "SakanaAI/JA-VG-VQA-500"
WILD = "SakanaAI/JA-VLM-Bench-In-the-Wild"
SEED = 0
SHARE = 0.51
"""As in run.yaml: the share of an answer's letters that are Japanese."""

Line = dict[str, object]


def main() -> None:
    """Write all files."""
    arguments = _arguments()
    out: Path = arguments.out
    (out / "images").mkdir(parents=True, exist_ok=True)
    search = list(_about_scenes(arguments.vg, "train", out))
    chosen = set(Random(SEED).sample(range(len(search)), arguments.validation))
    for number, line in enumerate(search):
        line["split"] = "validation" if number in chosen else "fit"
    test = [{**line, "split": "test"} for line in _about_scenes(arguments.vg, "test", out)]
    wild = [_line(row, row.columns, out) for row in _rows(arguments.wild, "test")]
    _write(out / "items.jsonl", [*search, *test])
    _write(out / "wild.jsonl", wild)
    for name in ("run.yaml", "wild.yaml"):
        shutil.copy(Path(__file__).with_name(name), out)
    print(
        f"{out}: {len(search) - len(chosen)} questions for the search, {len(chosen)} to pick the winner, "
        f"{len(test)} and {len(wild)} to test it"
    )


def _about_scenes(source: str, split: str, out: Path) -> Iterator[Line]:
    """Yield the first question about each image; for the search, the first with a Japanese answer."""
    for row in _rows(source, split):
        questions = cast("list[Mapping[str, object]]", row.columns["qas"])
        is_usable = [split == "test" or is_written_in(str(qa["answer"]), "ja", SHARE) for qa in questions]
        if any(is_usable):
            yield _line(row, questions[is_usable.index(True)], out)


def _rows(source: str, split: str) -> Iterator[Row]:
    return read_rows(DatasetSource(dataset=source, split=split), Path())


def _line(row: Row, question: Mapping[str, object], out: Path) -> Line:
    """Return a line of the data, after writing its image."""
    (image,) = with_images(Item(id="", prompt="", answer=""), row, "image").media
    (out / "images" / image.name).write_bytes(image.read())
    return {
        "images": [f"images/{image.name}"],
        "question": str(question["question"]),
        "answer": str(question["answer"]),
    }


def _write(file: Path, lines: list[Line]) -> None:
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    file.write_text(text, encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    help_ = "a data set on the Hub, or a folder with one"
    parser.add_argument("--vg", default=VG, help=f"{help_} (default: {VG})")
    parser.add_argument("--wild", default=WILD, help=f"the same, of the second test (default: {WILD})")
    parser.add_argument("--validation", type=int, default=200, help="questions that pick the winner")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KingyoError as error:
        sys.exit(f"Error: {error}")

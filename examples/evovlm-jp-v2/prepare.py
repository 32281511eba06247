"""Writes this example's data, and a processor for Mantis.

    hf download TIGER-Lab/Mantis-8B-siglip-llama3 --local-dir DIR/mantis
    python examples/evovlm-jp-v2/prepare.py --out DIR

DIR then holds ``items.jsonl`` (images, question, answer, split), the folder ``images`` and a copy of
``run.yaml``. Needs no GPU.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import cast

from kingyo.core.types import Item
from kingyo.errors import KingyoError
from kingyo.tasks.graders.language import is_written_in
from kingyo.tasks.rows import DatasetSource, Row, read_rows, with_images

VG = "SakanaAI/JA-VG-VQA-500"
MULTI = "SakanaAI/JA-Multi-Image-VQA"
SEED = 0
SHARE = 0.51
"""As in run.yaml: the share of an answer's letters that are Japanese."""
ENDS = [128_001, 128_009]
"""End of text and end of turn; Mantis names only the first."""
IMAGE = "<image>"

Line = dict[str, object]


def main() -> None:
    """Write all files."""
    arguments = _arguments()
    out: Path = arguments.out
    _make_loadable(out / "mantis")
    (out / "images").mkdir(exist_ok=True)
    single = list(_single(arguments.vg, out))
    Random(SEED).shuffle(single)
    splits = {"validation": single[: arguments.validation], "fit": single[arguments.validation :]}
    lines = [_shown(line, split) for split, its in splits.items() for line in _some_in_pairs(its)]
    test = [_shown(line, "test") for line in _several(arguments.multi, out)]
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in [*lines, *test])
    (out / "items.jsonl").write_text(text, encoding="utf-8")
    shutil.copy(Path(__file__).with_name("run.yaml"), out)
    print(
        f"{out}: {len(splits['fit'])} questions for the search, {len(splits['validation'])} to pick the "
        f"winner, {len(test)} to test it"
    )


def _make_loadable(mantis: Path) -> None:
    """Give Mantis the processor of LLaVA in place of its own, and the end of a turn as an end of answers."""
    if not (mantis / "config.json").is_file():
        raise SystemExit(
            f"{mantis}: no model. Download it: "
            f"hf download TIGER-Lab/Mantis-8B-siglip-llama3 --local-dir {mantis}"
        )
    config = json.loads((mantis / "config.json").read_text(encoding="utf-8"))
    _change(
        mantis / "processor_config.json",
        {
            "processor_class": "LlavaProcessor",
            "patch_size": config["vision_config"]["patch_size"],
            "vision_feature_select_strategy": config.get("vision_feature_select_strategy", "default"),
            "num_additional_image_tokens": 0,  # SigLIP has no class token
        },
    )
    _change(mantis / "generation_config.json", {"eos_token_id": ENDS})


def _change(file: Path, changes: Mapping[str, object]) -> None:
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps({**before, **changes}, indent=2) + "\n", encoding="utf-8")


def _single(source: str, out: Path) -> Iterator[Line]:
    """Yield a question about each image, the first with a Japanese answer."""
    for row in read_rows(DatasetSource(dataset=source, split="train"), Path()):
        for question in cast("list[Mapping[str, object]]", row.columns["qas"]):
            if is_written_in(str(question["answer"]), "ja", SHARE):
                yield _line(row, question, "image", out)
                break


def _several(source: str, out: Path) -> Iterator[Line]:
    """Yield the questions about several images."""
    for row in read_rows(DatasetSource(dataset=source, split="test"), Path()):
        yield _line(row, row.columns, "images", out)


def _line(row: Row, question: Mapping[str, object], column: str, out: Path) -> Line:
    """Return a line of the data, after writing its images."""
    media = with_images(Item(id="", prompt="", answer=""), row, column).media
    for image in media:
        (out / "images" / image.name).write_bytes(image.read())
    return {
        "images": [f"images/{image.name}" for image in media],
        "question": str(question["question"]),
        "answer": str(question["answer"]),
    }


def _some_in_pairs(lines: Sequence[Line]) -> Iterator[Line]:
    """Yield the lines; every second one also shows the image of the line before it, first or second."""
    for number, line in enumerate(lines):
        if number % 2 == 0:
            yield line
            continue
        images = [lines[number - 1]["images"], line["images"]]
        place = 2 if number % 4 == 1 else 1
        ordered = images if place == 2 else images[::-1]
        yield {
            **line,
            "images": [name for names in ordered for name in cast("list[str]", names)],
            "question": f"{place}枚目の画像について答えてください。{line['question']}",
        }


def _shown(line: Line, split: str) -> Line:
    """Mark the images in the question as Mantis does: where it names them, else before it."""
    n, question = len(cast("list[str]", line["images"])), str(line["question"])
    if question.count(IMAGE) != n:
        question = IMAGE * n + question.replace(IMAGE, "").strip()
    first, *rest = question.split(IMAGE)
    marks = [f"(image {number}: <Image>{IMAGE}</Image>){text}" for number, text in enumerate(rest, start=1)]
    return {**line, "question": first + "".join(marks), "split": split}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder to fill; it has mantis")
    help_ = "a data set on the Hub, or a folder with one"
    parser.add_argument("--vg", default=VG, help=f"{help_} (default: {VG})")
    parser.add_argument("--multi", default=MULTI, help=f"the same, of the test (default: {MULTI})")
    parser.add_argument("--validation", type=int, default=200, help="questions that pick the winner")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KingyoError as error:
        sys.exit(f"Error: {error}")

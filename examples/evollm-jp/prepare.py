"""Writes this example's data: the questions that the paper bred on, and those that it tested on.

    python examples/evollm-jp/prepare.py --out DIR

DIR then holds ``items.jsonl`` (question, answer, split) and a copy of ``run.yaml``. Needs no model.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from kingyo.errors import KingyoError
from kingyo.tasks.rows import read_rows
from kingyo.tasks.spec import DatasetSource

GSM8K = "SakanaAI/gsm8k-ja-test_250-1319"
MGSM = "juletxara/mgsm"
SEED = 0


def main() -> None:
    """Write both files."""
    arguments = _arguments()
    out: Path = arguments.out
    bred = list(_rows(arguments.gsm8k, None))
    tested = list(_rows(arguments.mgsm, "ja"))
    chosen = set(Random(SEED).sample(range(len(bred)), arguments.validation))
    lines = [
        {**row, "split": "validation" if number in chosen else "fit"} for number, row in enumerate(bred)
    ] + [{**row, "split": "test"} for row in tested]
    out.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    (out / "items.jsonl").write_text(text, encoding="utf-8")
    shutil.copy(Path(__file__).with_name("run.yaml"), out)
    print(
        f"{out}: {len(bred) - len(chosen)} questions for the search, {len(chosen)} to pick the winner, "
        f"{len(tested)} to test it"
    )


def _rows(source: str, subset: str | None) -> Iterator[dict[str, str]]:
    """Question and answer of each row, from a file or from a data set on the Hub."""
    where = source if Path(source).is_file() else DatasetSource(dataset=source, subset=subset, split="test")
    for row in read_rows(where, Path()):
        yield {"question": str(row.columns["question"]), "answer": str(row.columns["answer_number"])}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    help_ = "a data set on the Hub, or a .jsonl or .csv file with question and answer_number"
    parser.add_argument("--gsm8k", default=GSM8K, help=f"{help_} (default: {GSM8K})")
    parser.add_argument("--mgsm", default=MGSM, help=f"the same, of the test (default: {MGSM})")
    parser.add_argument("--validation", type=int, default=200, help="questions that pick the winner")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KingyoError as error:
        sys.exit(f"Error: {error}")

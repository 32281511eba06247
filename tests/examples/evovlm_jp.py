"""Data sets with the columns of those of EvoVLM-JP, and runs of the examples' scripts."""

import sys
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datasets", reason="needs the extra `datasets`")
pytest.importorskip("PIL.Image", reason="needs the extra `vision`")
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Pillow

from tests.examples.runs import ROOT, run

QA = {"question": Value("string"), "answer": Value("string"), "qa_id": Value("int64")}


def image(number: int) -> dict[str, bytes | str]:
    """Return an image file as data sets hold it; every number gives another colour."""
    stream = BytesIO()
    colour = (number % 256, number // 256, 99)
    Pillow.new("RGB", (60, 40), colour).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": f"{number}.png"}


def scenes(folder: Path, n_train: int, n_test: int) -> Path:
    """Write a data set like JA-VG-VQA-500: images with several questions each."""
    features = Features({"image_id": Value("int64"), "qas": List(QA), "image": Image()})
    numbers = {"train": range(n_train), "test": range(n_train, n_train + n_test)}
    for split, chosen in numbers.items():
        rows = [
            {
                "image_id": i,
                "qas": [
                    {"question": f"{i}番の色は?", "answer": "赤", "qa_id": 2 * i},
                    {"question": f"{i}番は何ですか?", "answer": "あかい犬です", "qa_id": 2 * i + 1},
                ],
                "image": image(i),
            }
            for i in chosen
        ]
        _write(folder, split, rows, features)
    return folder


def wild(folder: Path, n: int) -> Path:
    """Write a data set like JA-VLM-Bench-In-the-Wild."""
    text = dict.fromkeys(("page_url", "question", "answer"), Value("string"))
    rows = [
        {"page_url": "u", "image": image(5000 + i), "question": f"何が{i}つ?", "answer": "いぬです"}
        for i in range(n)
    ]
    return _write(folder, "test", rows, Features({**text, "image": Image()}))


def several(folder: Path, n: int) -> Path:
    """Write a data set like JA-Multi-Image-VQA: some questions have the placeholders of their images."""
    text = dict.fromkeys(("question", "answer"), Value("string"))
    features = Features({**text, "images": List(Image()), "page_urls": List(Value("string"))})
    rows = [
        {
            "images": [image(6000 + i), image(6001 + i)],
            "page_urls": ["a", "b"],
            "question": ("<image> <image> " if i % 2 else "") + f"{i}枚目との違いは?",
            "answer": "いろがちがいます",
        }
        for i in range(n)
    ]
    return _write(folder, "test", rows, features)


def _write(folder: Path, split: str, rows: Sequence[Mapping[str, Any]], features: Features) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    Dataset.from_list([dict(row) for row in rows], features=features).to_parquet(
        folder / f"{split}-00000-of-00001.parquet"
    )
    return folder


def prepare(script: str, folder: Path, /, **options: str | Path | int) -> Path:
    """Run the script of an example; return the folder that it wrote, named as the example."""
    example = str(options.get("example", script))
    words = [sys.executable, str(ROOT / "examples" / script / "prepare.py"), "--out", example]
    for name, value in options.items():
        words += [f"--{name}", str(value)]
    done = run(words, folder, {"HF_HOME": str(folder / "datasets"), "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    return folder / example

"""Does a model look? Score it with the pictures of the items, with those of other items, and with grey ones.

    python benchmarks/sight.py runs/sight           (also the parents, the bred model and its controls)
    python benchmarks/sight.py my-model --task task.yaml

A model that looks gets fewer answers right with wrong pictures; what is left are answers that it can guess
from the question. Pictures are exchanged between items with the same number of them. A run folder gives its
bred model, its items, and the scores that it has measured.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from random import Random

import torch
from PIL import Image
from seeds import kingyo, print_row, print_test_scores

from kingyo.core.types import SPLITS, Item, Media, Task
from kingyo.models.kinds import Live, LoadOptions
from kingyo.runs.model_kind import load_checkpoint, open_alone
from kingyo.runs.run import open_task
from kingyo.search.runners.evaluate import scores_of
from kingyo.stats import Groups, Interval, interval

GREY = (128, 128, 128)


def main() -> None:
    """Print a Markdown table of scores in % with 95% intervals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path, help="a model's folder, or the folder of a finished run")
    parser.add_argument("--task", type=Path, help="a task file (default: the model's task.yaml)")
    parser.add_argument("--split", choices=SPLITS, default="test", help="which items (default: test)")
    parser.add_argument("--items", type=int, help="only the first items (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the exchange of pictures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print_row(["model", "right", "n"])
    print_row(["---"] * 3)
    with tempfile.TemporaryDirectory() as scratch:
        model: Path = arguments.model
        if (model / "run.db").is_file():
            print_test_scores(model)
            kingyo("export", str(model), f"{scratch}/model", "--search", "main")
            model = Path(scratch) / "model"
        task = open_task(arguments.task or model / "task.yaml")
        show_blindness(model, task, task.items(arguments.split)[: arguments.items], arguments.seed)


def show_blindness(folder: Path, task: Task, items: Sequence[Item], seed: int) -> None:
    """Print the score of a model with the right pictures, with those of other items, and with grey ones."""
    checkpoint, kind = open_alone(str(folder))
    model = load_checkpoint(checkpoint, kind, LoadOptions())
    views = {
        "its pictures": items,
        "pictures of other items": exchanged(items, seed),
        "grey pictures": [replace(item, media=tuple(map(grey, item.media))) for item in items],
    }
    for name, seen in views.items():
        score = right(model, task, seen)
        print_row([name, score.in_percent(), score.size])


def right(model: Live, task: Task, items: Sequence[Item]) -> Interval:
    """Return the mean score of a model with its interval."""
    scores = [each.score for each in scores_of(task, model, items)]
    return interval(scores, Groups.of(item.group for item in items), seed=0)


def exchanged(items: Sequence[Item], seed: int) -> list[Item]:
    """Return the items, each with the pictures of another item that has as many."""
    alike: dict[int, list[Item]] = {}
    for item in items:
        alike.setdefault(len(item.media), []).append(item)
    media: dict[str, tuple[Media, ...]] = {}
    for group in alike.values():
        media |= _shifted(group, Random(seed))
    return [replace(item, media=media[item.id]) for item in items]


def _shifted(items: Sequence[Item], random: Random) -> Mapping[str, tuple[Media, ...]]:
    """Return the pictures of each item's neighbour in a circle drawn at random, by id."""
    circle = random.sample(list(items), len(items))
    return {item.id: other.media for item, other in zip(circle, [*circle[1:], *circle[:1]], strict=True)}


def grey(image: Media) -> Media:
    """Return a grey picture of the same size."""
    with Image.open(BytesIO(image.read())) as opened:
        return _grey(opened.size)


@cache
def _grey(size: tuple[int, int]) -> Media:
    stream = BytesIO()
    Image.new("RGB", size, GREY).save(stream, "PNG")
    content = stream.getvalue()
    return Media(sha256=sha256(content).hexdigest(), type="image/png", content=content)


if __name__ == "__main__":
    main()

"""Print the test scores of a run that draws, the time of a candidate, and a check of its pixels.

    python benchmarks/pictures.py runs/pictures
    python benchmarks/pictures.py runs/pictures --other runs/two-groups
    python benchmarks/pictures.py runs/pictures --references zoo/pictures/references/plain

Diffusers alone draws all test items again, in another process, from an export of the bred model; the pixels
must equal those of the stored pictures. ``--other`` adds paired differences to the bred models of other runs,
``--references`` the KID of all models to real pictures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seeds import kingyo, print_row, print_test_scores

from kingyo.core.types import ItemScore
from kingyo.search.evolution import MAIN
from kingyo.stats import Groups, PairedDifference, paired_difference
from kingyo.stats.paired import half_sample_bounds
from kingyo.store import RunStore, StoredTrial
from kingyo.tasks.references import ReferenceSettings, image_measures

DRAW_AGAIN = """
import json, sys
import numpy as np, torch
from diffusers import DiffusionPipeline
from PIL import Image

folder, work = sys.argv[1], json.loads(sys.argv[2])
torch.set_num_threads(work["threads"])
pipeline = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
pipeline.set_progress_bar_config(disable=True)
equal = 0
for start in range(0, len(work["rows"]), work["batch_size"]):
    batch = work["rows"][start : start + work["batch_size"]]
    drawn = pipeline(
        [each["prompt"] for each in batch],
        generator=[torch.Generator().manual_seed(each["seed"]) for each in batch],
        **work["arguments"],
    ).images
    for each, image in zip(batch, drawn, strict=True):
        equal += np.array_equal(np.asarray(Image.open(each["file"])), np.asarray(image))
print(json.dumps({"equal": int(equal)}))
"""


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--other", type=Path, nargs="*", default=[], help="runs with the same test items")
    parser.add_argument("--references", type=Path, help="folder of real pictures")
    arguments = parser.parse_args()
    print_row(["model", "test in %", "n"])
    print_row(["---"] * 3)
    print_test_scores(arguments.run)
    with RunStore.read(arguments.run) as store:
        bred = bred_of(store)
        show_differences_by_prompt(store, bred)
        show_cost(store)
        show_pixels(store, bred)
        for other in arguments.other:
            show_difference(store, bred, other)
        if arguments.references is not None:
            show_kid(store, bred, arguments.references)


def bred_of(store: RunStore) -> StoredTrial:
    """Return the bred model of a run: the trial of the main search that was scored on all of test."""
    n = len(store.items()["test"])
    return next(each for each in store.trials(MAIN) if len(tested(store, each)) == n)


def tested(store: RunStore, trial: StoredTrial) -> Sequence[ItemScore]:
    """Return the test scores of a trial."""
    evaluation = store.evaluation(trial.id, "test")
    return () if evaluation is None else evaluation.scores


def show_differences_by_prompt(store: RunStore, bred: StoredTrial) -> None:
    """Print what bred leads each model by, with intervals that go by prompt."""
    print_row(["model", "lead of bred in points [95%, by prompt]", "n"])
    print_row(["---"] * 3)
    for trial in store.trials():
        scores = tested(store, trial)
        if trial.id != bred.id and len(scores) == len(tested(store, bred)):
            lead = led_by(store, tested(store, bred), scores).interval
            print_row([trial.name or trial.search, lead.in_percent(sign="+"), lead.size])


def led_by(store: RunStore, own: Sequence[ItemScore], rival: Sequence[ItemScore]) -> PairedDifference:
    """Return the difference of two models, by prompt."""
    prompts = {each.id: f"prompt {each.prompt}" for each in store.items()["test"]}
    other = {each.item: each.score for each in rival}
    pair = [each.score for each in own], [other[each.item] for each in own]
    groups = Groups.of(prompts[each.item] for each in own)
    return paired_difference([pair], groups=[groups])


def show_cost(store: RunStore) -> None:
    """Print the time of building candidates as a share of that of drawing and grading them.

    The first run on a machine also compiles loops, which shows in the mean.
    """
    evaluations = [store.evaluation(each.id, "fit") for each in store.trials(MAIN)]
    scored = [each for each in evaluations if each is not None and each.copied_from is None and each.scores]
    build, score = (sum(getattr(each, f"{part}_seconds") for each in scored) for part in ("build", "score"))
    median = statistics.median(each.build_seconds / each.score_seconds for each in scored)
    print(
        f"\nBuilding a candidate takes {100 * median:.1f}% of the time of drawing and grading it in the "
        f"median, {100 * build / score:.1f}% in the mean of {len(scored)} "
        f"({build / len(scored):.3f} and {score / len(scored):.3f} s)."
    )


def show_pixels(store: RunStore, bred: StoredTrial) -> None:
    """Compare the stored pictures of the bred model with those of plain diffusers."""
    config: Any = store.fact("config")
    task = config["task"]
    pictures = {each.item: each.media for each in tested(store, bred) if each.media is not None}
    names = ("guidance_scale", "height", "width")
    work = {
        "rows": [
            {"prompt": each.prompt, "seed": each.seed, "file": str(pictures[each.id].path)}
            for each in store.items()["test"]
        ],
        "batch_size": config.get("batch_size", 128),
        "threads": config.get("threads", 1),
        "arguments": {name: task[name] for name in names if name in task}
        | {"num_inference_steps": task["steps"]},
    }
    with tempfile.TemporaryDirectory() as scratch:
        kingyo("export", str(store.folder), f"{scratch}/model", "--trial", str(bred.asked.number))
        done = subprocess.run(
            [sys.executable, "-c", DRAW_AGAIN, f"{scratch}/model", json.dumps(work)],
            check=True,
            capture_output=True,
            text=True,
        )
    equal = json.loads(done.stdout.splitlines()[-1])["equal"]
    print(f"\nPixels equal in plain diffusers: {equal} of {len(pictures)} test pictures.")


def show_difference(store: RunStore, bred: StoredTrial, folder: Path) -> None:
    """Print the paired difference of the bred models of two runs on the same test items."""
    with RunStore.read(folder) as other:
        rival = tested(other, bred_of(other))
    if {each.item for each in tested(store, bred)} != {each.item for each in rival}:
        raise SystemExit(f"{folder} has other test items")
    difference = led_by(store, tested(store, bred), rival)
    print(
        f"\nbred − bred of {folder}: {difference.interval.in_percent(' points', '+')}, "
        f"paired, n={difference.interval.size}, p = {difference.p:.3g}"
    )


def show_kid(store: RunStore, bred: StoredTrial, folder: Path) -> None:
    """Print the KID of each tested model's pictures to real ones."""
    items = store.items()["test"]
    kid, *_ = image_measures(ReferenceSettings(folder=str(folder.resolve())), folder)
    print_row([f"model, {len(items)} pictures", f"{kid.name} [95% interval]"])
    print_row(["---"] * 2)
    for trial in store.trials():
        scores = tested(store, trial)
        if len(scores) == len(items):
            name = "bred" if trial.id == bred.id else trial.name or trial.search
            features = kid.features(items, scores)
            low, high = half_sample_bounds(features, kid.value, Groups.of(each.group for each in items))
            print_row([name, f"{kid.value(features):.4f} [{low:.4f}, {high:.4f}]"])


if __name__ == "__main__":
    main()

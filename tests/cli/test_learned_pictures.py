"""Runs of models that see learn weights: their lessons lower the loss of the right answers."""

import json
from pathlib import Path

import yaml

from kingyo.core.types import Lesson
from kingyo.search.evolution import MAIN
from kingyo.store import RunStore
from tests.cli.conftest import World
from tests.cli.sight_runs import TASK, write_models
from tests.models.classifiers import LABELS, picture, vit

FIRST = 6  # candidates before the first lesson


def evolve(folder: Path, **changes: object) -> tuple[list[Lesson], list[float], list[float]]:
    """Evolve with a changed run.yaml; return lessons, and scores on fit of all and of learned trials."""
    run = yaml.safe_load((folder / "run.yaml").read_text())
    (folder / "run.yaml").write_text(yaml.safe_dump({**run, **changes}))
    done = World(folder=folder).run("evolve", "run.yaml", "--run", "run")
    assert done.returncode == 0, done.stderr
    with RunStore.read(folder / "run") as store:
        lessons = store.lessons(MAIN)
        means = {
            trial.id: sum(each.score for each in evaluation.scores) / len(evaluation.scores)
            for trial in store.trials(MAIN)
            if (evaluation := store.evaluation(trial.id, "fit")) is not None
        }
    return list(lessons.values()), list(means.values()), [means[trial] for trial in lessons]


def write_classifiers(folder: Path) -> None:
    """Write three image classifiers, pictures with their colours, and run.yaml."""
    for seed, name in enumerate(("base", "one", "other")):
        vit(folder / name, seed)
    rows: list[dict[str, str]] = []
    for n in range(96):
        colour = [20 + n, 20 + n, 20 + n]
        colour[n % 3] = 250 - n
        (folder / f"{n}.png").write_bytes(picture((colour[0], colour[1], colour[2])).read())
        rows.append({"image": f"{n}.png", "label": LABELS[n % 3]})
    (folder / "colours.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "base": "base",
        "sources": {"one": "one", "other": "other"},
        "task": {"kind": "classify", "data": "colours.jsonl"},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))


def test_vision_language_models_learn(tmp_path: Path) -> None:
    folder = write_models(tmp_path)
    lessons, _, _ = evolve(folder, budget={"candidates": 60}, task={**TASK, "max_new_tokens": 1})
    assert lessons and lessons[0].targets == 12
    assert lessons[0].loss[1] < lessons[0].loss[0]


def test_image_classifiers_learn(tmp_path: Path) -> None:
    write_classifiers(tmp_path)
    lessons, fit, learned = evolve(tmp_path, budget={"candidates": 60})
    assert lessons and lessons[0].loss[1] < lessons[0].loss[0]
    assert learned[0] > max(fit[:FIRST]), "the candidates before it"

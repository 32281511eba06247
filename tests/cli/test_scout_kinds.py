"""`kingyo scout --task` on the zoo's models that see and that draw, and the runs that it begins."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from kingyo.runs.choice import CHOICE
from kingyo.runs.config import RunConfig
from kingyo.runs.setup import stored_config
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.store import RunStore
from tests.cli.forked import run_forked
from tests.scout.chosen import ROOT, ZOO
from tests.scout.chosen import write_task as write_texts

SIGHT, PICTURES = ZOO / "sight", ZOO / "pictures"
MODELS_THAT_SEE = [str(SIGHT / name) for name in ("base", "ja", "poem", "see-en")]


def write_task(folder: Path, example: str, data: Path, **changes: object) -> None:
    """Write the task of an example, with other data."""
    task = yaml.safe_load((ROOT / "examples" / example).read_text(encoding="utf-8"))["task"]
    (folder / "task.yaml").write_text(yaml.safe_dump({**task, "data": str(data), **changes}))


def kingyo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = run_forked(arguments, folder, {**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    return done


def chosen(folder: Path, *arguments: str) -> RunConfig:
    """Choose among models; return the settings of the run that goes on with them."""
    kingyo(folder, "scout", *arguments, "--task", "task.yaml", "--out", "out")
    with RunStore.read(folder / "out") as store:
        return stored_config(store)[0]


def frames(folder: Path) -> set[str | None]:
    """Return the frames of all trial merges."""
    with RunStore.read(folder / "out") as store:
        return {read_recipe(trial).frame for trial in store.trials(CHOICE)}


@pytest.fixture
def sight(tmp_path: Path) -> Path:
    """A folder with the task of the example, with few items."""
    tasks, left = SIGHT / "tasks", {"fit": 60, "validation": 6, "test": 6}
    rows: list[dict[str, object]] = []
    (tmp_path / "images").mkdir()
    for line in (tasks / "questions-ja.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        left[row["split"]] -= 1
        if left[row["split"]] >= 0:
            rows.append(row)
            for name in row["images"]:
                shutil.copy(tasks / name, tmp_path / "images")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_task(tmp_path, "sight/run.yaml", tmp_path / "rows.jsonl")
    return tmp_path


@pytest.mark.slow
def test_models_that_see(sight: Path) -> None:
    """All merges see with the only one that sees, and the weights of its language part are searched."""
    config = chosen(sight, *MODELS_THAT_SEE, "--most", "2")
    assert list(config.sources) == ["ja", "see-en"]
    assert config.merge.frame == "see-en" and config.merge.groups == "layers:6"
    assert frames(sight) == {str(SIGHT / "see-en")}


@pytest.mark.slow
def test_a_frame_that_is_not_chosen(sight: Path) -> None:
    """It is in the run with weight 0."""
    config = chosen(sight, *MODELS_THAT_SEE, str(SIGHT / "multi"), "--most", "1", "--frame", "multi")
    assert list(config.sources) == ["ja", "multi"] and config.merge.frame == "multi"
    assert config.merge.sources["multi"].parameters == {"weight": 0}
    assert frames(sight) == {str(SIGHT / "multi")}


def test_a_frame_is_named_as_the_tables_do_and_must_have_an_effect(sight: Path) -> None:
    """Of models that see, the base and candidates by reference; of language models, none."""
    task = ["--task", "task.yaml", "--out", "out", "--dry-run", "--frame"]
    kingyo(sight, "scout", *MODELS_THAT_SEE, *task, str(SIGHT / "see-en"))
    for name in ("base", str(SIGHT / "base")):
        done = run_forked(["scout", *MODELS_THAT_SEE, *task, name], sight, os.environ)
        assert done.returncode == 1 and done.stderr.startswith("Error: --frame: expected a model of kind ")
    write_texts(sight).rename(sight / "task.yaml")
    for name in ("base", "ja"):
        done = run_forked(
            ["scout", *map(str, (ZOO / "base", ZOO / "ja", ZOO / "poem")), *task, name], sight, os.environ
        )
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
        assert "--frame: expected a task and models with other parts than the language model" in done.stderr


@pytest.mark.slow
def test_models_that_draw(tmp_path: Path) -> None:
    """Sources have the names of their pipelines; one is a LoRA."""
    pytest.importorskip("diffusers")
    judge = {"classifier": {"model": str(PICTURES / "judge"), "label": "answer"}}
    data = PICTURES / "tasks" / "prints-en.jsonl"
    write_task(tmp_path, "pictures/prints.yaml", data, grader=judge)
    models = [str(PICTURES / name) for name in ("base", "fast", "invert", "ukiyoe")]
    config = chosen(tmp_path, *models, "--most", "2")
    assert list(config.sources) == ["ukiyoe", "fast"]
    assert config.merge.frame is None
    model, _, lora = config.sources["ukiyoe"].partition("+")
    assert (tmp_path / model).resolve() == PICTURES / "base" / "unet"
    assert (tmp_path / lora).resolve() == PICTURES / "ukiyoe"


def test_models_of_another_kind_are_refused_before_anything_is_scored(sight: Path) -> None:
    for models, kind in (((str(PICTURES),), "text-to-image"), (MODELS_THAT_SEE[:3], "causal-lm")):
        arguments = ("scout", *models, "--task", "task.yaml", "--out", "out", "--dry-run")
        done = run_forked(arguments, sight, os.environ)
        assert done.returncode == 1 and f"models of kind {kind}" in done.stderr, done.stderr
    assert not (sight / "out").exists()

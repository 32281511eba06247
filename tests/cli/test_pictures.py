"""A run that draws, from run.yaml to the exported pipeline, through the commands."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from kingyo.store import RunStore
from tests.cli.conftest import World

pytest.importorskip("diffusers")
from PIL import Image

from tests.cli.picture_runs import CONFIG, TASK, write_models

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
PLAINLY = """
import json, sys
import numpy as np, torch
from diffusers import DiffusionPipeline
from PIL import Image

torch.set_num_threads(1)
pipeline = DiffusionPipeline.from_pretrained("out")
differing, rows = 0, json.load(open("pictures.json"))
for start in range(0, len(rows), 3):
    batch = rows[start : start + 3]
    drawn = pipeline(
        [each["prompt"] for each in batch],
        num_inference_steps=2, height=32, width=32, guidance_scale=2.0,
        generator=[torch.Generator().manual_seed(each["seed"]) for each in batch],
    ).images
    for each, image in zip(batch, drawn, strict=True):
        differing += not np.array_equal(np.asarray(Image.open(each["file"])), np.asarray(image))
print(json.dumps({"n": len(rows), "differing": differing}))
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("pictures")
    write_models(folder)
    world = World(folder=folder)
    done = world.ok("evolve", "run.yaml", "--run", "run")
    assert "Loading" not in done.stderr and "it/s" not in done.stderr
    return world


@pytest.mark.slow
def test_pictures_of_test_are_stored_and_those_of_the_search_are_not(finished: World) -> None:
    with RunStore.read(finished.folder / "run") as store:
        for trial in store.trials("main"):
            fit, test = store.evaluation(trial.id, "fit"), store.evaluation(trial.id, "test")
            assert fit is None or all(each.media is None for each in fit.scores)
            assert test is None or all(each.media.path.is_file() for each in test.scores)
        items = [item for own in store.items().values() for item in own]
    assert len(items) == 12 and all(item.seed is not None for item in items)


@pytest.mark.slow
def test_an_exported_pipeline_draws_the_stored_pixels_in_plain_diffusers(finished: World) -> None:
    with RunStore.read(finished.folder / "run") as store:
        (trial,) = [each for each in store.trials("main") if store.evaluation(each.id, "test")]
        evaluation, items = store.evaluation(trial.id, "test"), store.items()["test"]
        pictures = {each.item: each.media.path for each in evaluation.scores}
        rows = [{"prompt": i.prompt, "seed": i.seed, "file": str(pictures[i.id])} for i in items]
    (finished.folder / "pictures.json").write_text(json.dumps(rows))
    finished.ok("export", "run", "out", "--trial", str(trial.asked.number))
    plain = subprocess.run(
        [sys.executable, "-c", PLAINLY], check=False, cwd=finished.folder, capture_output=True, text=True
    )
    assert plain.returncode == 0, plain.stderr
    assert json.loads(plain.stdout.splitlines()[-1]) == {"n": 5, "differing": 0}
    item, again = rows[0], ("--seed", str(rows[0]["seed"]), "-o", "drawn.png")
    assert finished.run("draw", "out", item["prompt"], *again).returncode == 0
    drawn, stored = (
        np.asarray(Image.open(each), dtype=int) for each in (finished.folder / "drawn.png", item["file"])
    )
    assert abs(drawn - stored).max() <= 1  # alone, and in a batch
    card = (finished.folder / "out" / "README.md").read_text()
    assert "pipeline_tag: text-to-image" in card and "![](images/1-1.png)" in card
    assert (finished.folder / "out" / "images" / "1-1.png").read_bytes().startswith(b"\x89PNG")
    index = json.loads((finished.folder / "out" / "model_index.json").read_text())
    assert index["scheduler"] == ["diffusers", "EulerAncestralDiscreteScheduler"]


def test_the_report_shows_a_contact_sheet(finished: World) -> None:
    pytest.importorskip("vl_convert")
    finished.ok("report", "run")
    page = (finished.folder / "run" / "report.html").read_text()
    sheet = page.partition('<section id="sheet">')[2].partition("<details>")[0]
    assert sheet.count("<img ") == 5 * 5 + 1  # bred, base, two parents, uniform; and the enlarged one
    assert "drawn by uniform" in sheet and "seed " in sheet


def test_draw_writes_pictures(finished: World) -> None:
    small = ("--steps", "2", "--height", "32", "--width", "32")
    done = finished.ok("draw", "base", "a cat", *small, "-n", "2")
    assert (finished.folder / "out-0.png").read_bytes() != (finished.folder / "out-1.png").read_bytes()
    again = ("--seed", "1", "-o", "again.png", "--json")
    done = finished.run("draw", "base/unet", "a cat", *small, *again)
    assert json.loads(done.stdout)["pictures"] == [{"file": "again.png", "seed": 1}]
    assert (finished.folder / "again.png").read_bytes() == (finished.folder / "out-1.png").read_bytes()


@pytest.mark.slow
def test_draw_takes_float32_on_a_cpu_and_the_dtype_of_the_run_for_an_exported_model(finished: World) -> None:
    from diffusers import DiffusionPipeline

    half = DiffusionPipeline.from_pretrained(finished.folder / "base").to(torch.float16)
    half.save_pretrained(finished.folder / "half")
    shutil.copytree(finished.folder / "half", finished.folder / "scored")
    (finished.folder / "scored/task.yaml").write_text(yaml.safe_dump(TASK))

    def pixels(model: str, *options: str) -> bytes:
        words = ("a cat", "--steps", "2", "--height", "32", "--width", "32", "-o", "dtype.png", *options)
        finished.ok("draw", model, *words)
        return (finished.folder / "dtype.png").read_bytes()

    (finished.folder / "task.yaml").write_text("the task of another model")
    float32, float16 = (pixels("half", "--dtype", each) for each in ("float32", "float16"))
    assert float32 != float16
    assert pixels("half") == float32
    assert pixels("scored") == pixels("scored/unet", "--dtype", "float16")
    assert pixels("scored/unet") != pixels("scored", "--dtype", "float32")


def test_draw_says_that_a_task_of_another_kind_sets_nothing(finished: World) -> None:
    other = finished.folder / "other"
    shutil.copytree(finished.folder / "base", other)
    words = ("a cat", "--steps", "1", "--height", "32", "--width", "32", "-o", "other.png")
    (other / "task.yaml").write_text("{kind: generate, data: rows.jsonl, grader: exact}")
    done = finished.run("draw", "other", *words)
    assert done.returncode == 0 and done.stderr == (
        "Note: other/task.yaml has no task of kind draw, so its settings are not used.\n"
    )
    for task in ("{kind: nonsense, data: rows.jsonl}", "{kind: draw, data: rows.jsonl}", "text"):
        (other / "task.yaml").write_text(task)
        done = finished.run("draw", "other", *words)
        assert done.returncode == 1 and done.stderr.startswith("Error: other/task.yaml: "), task


def test_evaluate_writes_pictures_beside_the_answers(finished: World) -> None:
    done = finished.ok("evaluate", "a", "run", "--answers", "answers.jsonl", "--batch-size", "3", "--json")
    rows = [json.loads(line) for line in (finished.folder / "answers.jsonl").read_text().splitlines()]
    assert json.loads(done.stdout)["n"] == len(rows) == 5
    with RunStore.read(finished.folder / "run") as store:
        (parent,) = [each for each in store.trials("baselines") if each.name == "a"]
        stored = {each.item: each.media.name for each in store.evaluation(parent.id, "test").scores}
    assert {row["id"]: row["picture"] for row in rows} == {id: f"media/{name}" for id, name in stored.items()}
    assert all((finished.folder / row["picture"]).read_bytes().startswith(b"\x89PNG") for row in rows)


@pytest.mark.parametrize(
    ("words", "received"),
    [
        (("draw", "base", "a cat", "-o", "run.yaml"), "run.yaml"),
        (("draw", "base", "a cat", "--height", "64"), "one of them"),
        (("draw", "judge", "a cat"), "image-classification"),
        (("draw", "base/vae", "a cat"), "AutoencoderKL"),
        (("draw", "base/unett", "a cat"), "unett"),
        (("draw", "base", "a cat", "--dtype", "half"), "'half'"),
    ],
)
def test_what_cannot_be_drawn_is_one_error(finished: World, words: tuple[str, ...], received: str) -> None:
    before = (finished.folder / "run.yaml").read_bytes()
    done = finished.run(*words)
    assert done.returncode == 1 and received in done.stderr and "Traceback" not in done.stderr
    assert (finished.folder / "run.yaml").read_bytes() == before


def test_init_writes_a_run_that_draws(finished: World) -> None:
    words = (
        "init",
        "new.yaml",
        "--base",
        "base",
        "--source",
        "a",
        "--source",
        "b",
        "--task",
        "prompts.jsonl",
    )
    done = finished.run(*words, "--grader", "classifier")
    assert done.returncode == 1 and "grader.classifier" in done.stderr
    assert not (finished.folder / "new.yaml").exists()
    done = finished.ok(*words, "--grader", "{classifier: {model: judge, label: motif}}")
    task = yaml.safe_load((finished.folder / "new.yaml").read_text())["task"]
    assert task.items() >= {"kind": "draw", "prompt": "{prompt}", "seed": "seed", "steps": 20}.items()
    assert not {"chat", "max_new_tokens", "answer"} & task.keys()
    done = finished.ok("evolve", "new.yaml", "--dry-run")


def test_a_long_prompt_is_cut_with_one_note(finished: World) -> None:
    done = finished.run("draw", "base", "cat " * 500, "--steps", "1", "-o", "long.png")
    assert done.returncode == 0 and len(done.stderr.splitlines()) == 1 and "at most 77 tokens" in done.stderr


def test_a_long_prompt_ends_a_run_before_it_starts(finished: World, tmp_path: Path) -> None:
    rows = [{"prompt": "cat " * 90, "motif": "cat", "seed": 0}]
    text = (finished.folder / "prompts.jsonl").read_text() + json.dumps(rows[0]) + "\n"
    (finished.folder / "long.jsonl").write_text(text)
    task = {**TASK, "data": "long.jsonl", "splits": {"fit": 5, "validation": 3, "test": 5}}
    (finished.folder / "long.yaml").write_text(yaml.safe_dump({**CONFIG, "task": task}))
    done = finished.run("evolve", "long.yaml", "--run", "long", "--dry-run")
    assert done.returncode == 1 and "at most 77 tokens" in done.stderr and "truncate: true" in done.stderr

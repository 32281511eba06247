"""A language model is bred into one that sees, with the real commands: run, kill, export, chat, bad input."""

import contextlib
import json
import shutil
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
import yaml
from PIL import Image
from transformers import AutoModelForImageTextToText
from typer.testing import CliRunner

from kingyo.cli import app
from kingyo.cli.output import visible
from kingyo.models.kinds import LoadOptions
from kingyo.models.vision_language import LiveVisionLanguageModel
from kingyo.runs.run import Run, open_task
from kingyo.store import RunStore
from tests.cli.conftest import World
from tests.cli.resumed import facts
from tests.cli.sight_runs import FLOW, HYBRID, JOINT, SLOW, N, path_run, write_models
from tests.merging.checkpoints.fitting import restate
from tests.models.classifiers import picture
from tests.models.vision_families import build_text


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("sight"))


@pytest.fixture
def world(models: Path, tmp_path: Path) -> World:
    return World(folder=shutil.copytree(models, tmp_path / "world"))


def test_a_language_model_is_bred_into_one_that_sees(world: World) -> None:
    for words in (
        ("evolve", "run.yaml", "--dry-run"),
        ("evolve", "run.yaml"),
        ("report", "runs/sight"),
        ("export", "runs/sight", "out", "--search", "main"),
    ):
        done = world.ok(*words)
    assert "kingyo chat out" in done.stdout
    groups = ("block.0", "block.1", "head")
    with RunStore.read(world.folder / "runs/sight") as store:
        axes = [axis.name for axis in Run.stored(store).axes]
    assert axes == [f"weight/{source}/{group}" for source in ("see", "ja") for group in groups]
    out = world.folder / "out"
    _, report = AutoModelForImageTextToText.from_pretrained(out, output_loading_info=True)
    assert not any(report.values())
    assert "pipeline_tag: image-text-to-text" in (out / "README.md").read_text()
    answers = world.data("evaluate", "out", "out/task.yaml")
    assert answers["score"] == pytest.approx(world.show("runs/sight")["winner"]["test"]["score"])


@SLOW
@pytest.mark.parametrize("keys", [FLOW, HYBRID, JOINT])
def test_paths_pass_through_both_models(world: World, keys: dict[str, object]) -> None:
    for words in (
        ("evolve", path_run(world, **keys), "--run", "paths"),
        ("report", "paths"),
        ("export", "paths", "out", "--search", "main"),
    ):
        world.ok(*words)
    assert world.show("paths")["failures"] == 0
    with RunStore.read(world.folder / "paths") as store:
        assert Run.stored(store).baselines["ja"].base_model == "see", "measured in the frame"
    _, report = AutoModelForImageTextToText.from_pretrained(world.folder / "out", output_loading_info=True)
    assert not any(report.values())
    live = LiveVisionLanguageModel.load(world.folder / "out", LoadOptions())
    task = open_task(world.folder / "out" / "task.yaml")
    stored = facts(world.folder / "paths")
    winner = dict(stored["winners"])["main"]  # type: ignore[arg-type]
    answers = {row[3]: row[5] for row in stored["scores"] if row[:2] == ("main", winner)}
    exported = {each.item: each.answer for each in task.score(live, task.items("test"))}
    assert exported.items() <= answers.items()


def narrow(folder: Path) -> None:
    """Give the language model another width than the one that sees."""
    build_text("llava", folder / "ja", 1, hidden_size=64)


def test_a_frame_of_paths_must_see(world: World) -> None:
    done = world.fails("evolve", path_run(world, **FLOW, dataflow={"frame": "ja"}))
    assert done.stderr.splitlines()[-1].startswith("Error: dataflow.frame")


def test_chat_shows_images(world: World) -> None:
    live = LiveVisionLanguageModel.load(world.folder / "see", LoadOptions())
    items = open_task(world.folder / "task.yaml").items("fit")
    item = next(each for each in items if len(each.media) == 1)
    prompt = live.image_prompt("what is it?", item.media, chat=True)
    answer = live.write_about([prompt], max_new_tokens=4)[0].text
    words = ["chat", "see", "--max-new-tokens", "4", "--image", str(item.media[0].path)]
    with contextlib.chdir(world.folder):
        done = CliRunner().invoke(app, words, input="is it <image>?\nwhat is it?\n")
    assert done.stdout == f"{visible(answer)}\n"
    assert f"prompt with {item.media[0].place}" in done.stderr


def row(**cells: object) -> Callable[[Path], object]:
    """Change the cells of one row."""

    def change(folder: Path) -> None:
        lines = (folder / "rows.jsonl").read_text().splitlines()
        lines[6] = json.dumps({**json.loads(lines[6]), **cells})
        (folder / "rows.jsonl").write_text("\n".join(lines))

    return change


ANY = Image.open(BytesIO(picture((90, 9, 200), size=20).read()))
TURNED = Image.Exif()
TURNED[0x0112] = 6


def test_unusual_images_are_read(world: World) -> None:
    rows = (world.folder / "rows.jsonl").read_text().splitlines()
    shown = [
        ANY.resize((1, 1)),
        ANY.resize((30_000, 20)),
        *(ANY.convert(mode) for mode in ("RGBA", "LA", "P")),
    ]
    for n, image in enumerate(shown):
        image.save(world.folder / "images" / f"unusual-{n}.png")
    ANY.convert("CMYK").save(world.folder / "images" / "unusual-5.jpg")
    ANY.save(world.folder / "images" / "unusual-6.jpg", exif=TURNED)
    ANY.save(world.folder / "images" / "unusual-7.gif", save_all=True, append_images=[ANY.rotate(90)])
    for n, path in enumerate(sorted((world.folder / "images").glob("unusual-*"))):
        rows[n] = json.dumps({**json.loads(rows[n]), "images": [f"images/{path.name}"]})
    (world.folder / "rows.jsonl").write_text("\n".join(rows))
    assert world.data("evaluate", "see", "task.yaml", "--split", "all")["n"] == N


def merge(**keys: object) -> Callable[[Path], object]:
    """Return a function that sets the keys of ``merge`` in run.yaml."""

    def change(folder: Path) -> None:
        run = yaml.safe_load((folder / "run.yaml").read_text())
        (folder / "run.yaml").write_text(yaml.safe_dump({**run, "merge": keys}))

    return change


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (row(images=["images/none.png"]), "line 7: images"),
        (row(images=["images/\ud800.png"]), "line 7: images: expected an image"),
        (row(question="is <image> the same?"), "images"),
        (lambda folder: (folder / "see" / "preprocessor_config.json").unlink(), "see"),
        (lambda folder: restate(folder / "see", image_token_index=300), "image_token_id 300"),
        (merge(frame="ja"), "merge.frame"),
        (merge(parts={"language": "ja"}), "merge.parts"),
        (narrow, "ja"),
    ],
)
def test_bad_input_is_one_error(world: World, damage: Callable[[Path], object], named: str) -> None:
    damage(world.folder)
    done = world.fails("evolve", "run.yaml")
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert named in done.stderr.replace("\n", " ")
    assert not (world.folder / "runs").exists()

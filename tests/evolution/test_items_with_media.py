"""Two images, one question, two answers: the rows load, split, run, resume and export."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import cast

import pytest

from kingyo.errors import KingyoError
from kingyo.evolution import BASELINES
from kingyo.export import export
from kingyo.results.summarize import summarize
from kingyo.run.begin import begin
from kingyo.run.config import parse_config
from kingyo.run.open_task import open_task
from kingyo.run.resume import journey_of, require_unchanged
from kingyo.run.run import Run
from kingyo.store import RunStore
from kingyo.tasks import load_splits, parse_task_spec
from kingyo.types import SPLITS, Media
from tests.models_on_disk import fine_tuned, llama
from tests.tasks.pictures import TASK, album


@pytest.fixture
def world(tmp_path: Path) -> Path:
    base = llama(tmp_path / "base")
    for seed, name in enumerate(("a", "b"), start=1):
        fine_tuned(base, tmp_path / name, seed=seed, scale=0.3)
    album(tmp_path, 12)
    return tmp_path


def begun(world: Path) -> Path:
    config = {
        "name": "album",
        "base": "base",
        "sources": {"a": "a", "b": "b"},
        "task": {"name": "album", **TASK},
        "merge": {"method": "task_arithmetic"},
        "search": {"strategy": "random"},
        "budget": {"candidates": 2},
        "finalists": 1,
    }
    begin(Run.open(parse_config(config, "run.yaml"), world), world / "run").begun.close()
    return world / "run"


def test_a_run_keeps_its_images_and_resumes_and_exports_without_the_data(world: Path) -> None:
    run = begun(world)
    shutil.rmtree(world / "images")  # from now on the run has them
    (world / "album.jsonl").unlink()
    assert len(list((run / "media").iterdir())) == 12
    assert not list(run.glob("**/.*"))
    with RunStore.open(run) as store:
        splits = store.items()
        journey_of(Run.stored(store), lambda event: None).run()
        assert store.items() == splits
    with RunStore.open(run) as store:  # a resume replays what is stored
        journey_of(Run.stored(store), lambda event: None).run()
        assert store.item_evaluations() > 0
        assert_that_drawn_images_are_kept(store)
        winner = summarize(store).best
        assert winner is not None and winner.test is not None and winner.test.n == 3
        out = export(store, world / "out")
    (world / "colours.py").rename(world / "elsewhere.py")
    again = open_task(out / "task.yaml")
    assert {split: tuple(again.items(split)) for split in SPLITS} == splits
    assert all(item.media[0].read() for split in SPLITS for item in again.items(split))
    assert (out / "media").is_dir() and not (out / "images").exists()


def test_a_run_stores_the_versions_of_the_libraries_of_its_kind(world: Path) -> None:
    run = begun(world)
    with RunStore.open(run) as store:
        versions = cast("dict[str, str]", store.fact("versions"))
        assert versions["tokenizers"] == version("tokenizers")
        journey_of(Run.stored(store), lambda event: None).run()
        store.set_fact("versions", {name: each for name, each in versions.items() if name != "tokenizers"})
        require_unchanged(store)  # a kingyo that did not store it began the run
        journey_of(Run.stored(store), lambda event: None).run()
        assert store.fact("versions") == versions
        store.set_fact("versions", {**versions, "tokenizers": "0.1"})
        with pytest.raises(KingyoError, match=r"^tokenizers: .*tokenizers 0\.1; received tokenizers"):
            journey_of(Run.stored(store), lambda event: None)


def assert_that_drawn_images_are_kept(store: RunStore) -> None:
    """Of baselines on all splits, of others on validation and test: not of every candidate of a search."""
    counts: dict[tuple[str, str], int] = Counter()
    for trial in store.trials():
        for split in SPLITS:
            evaluation = store.evaluation(trial.id, split)
            for each in () if evaluation is None else evaluation.scores:
                is_kept = split != "fit" or trial.search == BASELINES
                assert (each.media is not None) is is_kept
                if each.media is not None:
                    assert each.media.path == store.folder / "media" / each.media.name
                    assert each.media.read() == f"a picture of {each.answer}".encode()
                counts[trial.search, split] += 1
    assert {("baselines", "fit"), ("baselines", "test"), ("main", "fit"), ("main", "validation")} <= set(
        counts
    )


def lose(file: Path) -> None:
    file.unlink()


def swap(file: Path) -> None:
    other = next(each for each in file.parent.iterdir() if each != file)
    file.write_bytes(other.read_bytes())


@pytest.mark.parametrize("spoil", [lose, swap])
def test_a_run_with_a_missing_or_changed_image_is_refused(world: Path, spoil: Callable[[Path], None]) -> None:
    run = begun(world)
    file = sorted((run / "media").iterdir())[0]
    spoil(file)
    with pytest.raises(KingyoError, match=file.name):
        RunStore.open(run)


class Stopping(Media):
    """An image during which the user presses Ctrl-C."""

    def read(self) -> bytes:
        raise KeyboardInterrupt


def test_a_run_stopped_while_copying_images_leaves_none(world: Path) -> None:
    splits = load_splits({"album": parse_task_spec(TASK)}, world).splits
    *others, last = splits["test"]
    image = Stopping(sha256="0" * 64, type="image/png")
    stopped = {**splits, "test": (*others, replace(last, media=(image,)))}
    with RunStore.create(world / "run") as store, pytest.raises(KeyboardInterrupt):
        store.begin({"name": "album"}, stopped)
    assert not (world / "run").exists()


def test_a_run_that_cannot_be_set_up_leaves_no_images(world: Path) -> None:
    splits = load_splits({"album": parse_task_spec(TASK)}, world).splits
    (world / "images" / "3.png").write_bytes(b"another")
    with RunStore.create(world / "run") as store, pytest.raises(KingyoError, match=r"3\.png"):
        store.begin({"name": "album"}, splits)
    assert not (world / "run").exists()

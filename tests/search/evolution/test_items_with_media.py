"""Two images, one question, two answers: the rows load, split, run, resume and export."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from kingyo.core.types import SPLITS
from kingyo.errors import KingyoError
from kingyo.export import export
from kingyo.export.task_files import SPLIT
from kingyo.runs.begin import begin
from kingyo.runs.config import parse_config
from kingyo.runs.resume import journey_of
from kingyo.runs.run import Run, open_task
from kingyo.search.evolution import BASELINES
from kingyo.store import RunStore
from kingyo.views.results.summary import summarize
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
    for split in SPLITS:
        items = [replace(each, fields=each.fields | {SPLIT: split}) for each in splits[split]]
        assert list(again.items(split)) == items
    assert all(item.media[0].read() for split in SPLITS for item in again.items(split))
    assert (out / "media").is_dir()


def assert_that_drawn_images_are_kept(store: RunStore) -> None:
    """Of baselines on all splits, of others on validation and test: not of every candidate of a search."""
    met = set[tuple[str, str]]()
    for trial in store.trials():
        for split in SPLITS:
            evaluation = store.evaluation(trial.id, split)
            for each in () if evaluation is None else evaluation.scores:
                is_kept = split != "fit" or trial.search == BASELINES
                assert (each.media is not None) is is_kept
                if each.media is not None:
                    assert each.media.path == store.folder / "media" / each.media.name
                    assert each.media.read() == f"a picture of {each.answer}".encode()
                met.add((trial.search, split))
    assert met >= {("baselines", "fit"), ("baselines", "test"), ("main", "fit"), ("main", "validation")}


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_run_with_a_missing_or_changed_image_is_refused(world: Path, is_lost: bool) -> None:
    run = begun(world)
    file, other = sorted((run / "media").iterdir())[:2]
    if is_lost:
        file.unlink()
    else:
        file.write_bytes(other.read_bytes())
    with pytest.raises(KingyoError, match=file.name):
        RunStore.open(run)

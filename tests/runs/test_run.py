"""The opened run: what it reads, how often, and what it is made of."""

import importlib
import shutil
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kingyo.core.types import Written
from kingyo.errors import KingyoError
from kingyo.export import export
from kingyo.models.language_model import LiveModel
from kingyo.runs.begin import begin
from kingyo.runs.config import parse_config
from kingyo.runs.resume import journey_of
from kingyo.runs.run import Run
from kingyo.runs.worker import RunEvaluatorBuilder
from kingyo.search.evolution import MAIN, Event, read_front
from kingyo.store import RunStore
from tests.exported import config_of, make_world

FINGERPRINT = importlib.import_module("kingyo.merging.checkpoints.checkpoint")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_world(tmp_path)
    return tmp_path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file of weights was hashed."""
    counts: Counter[str] = Counter()
    read = FINGERPRINT.hash_file

    def counted(reference: str, file: Path) -> str:
        if file.suffix == ".safetensors":
            counts[file.parent.name] += 1
        return read(reference, file)

    monkeypatch.setattr(FINGERPRINT, "hash_file", counted)
    return counts


def test_every_weight_file_is_hashed_once(folder: Path, reads: Counter[str]) -> None:
    """From the first check to the exported model, with a resume and a worker between."""
    config = parse_config({**config_of(folder), "controls": {"trained": False}}, "run.yaml")
    opened = Run.open(config, folder)
    with begin(opened, folder / "run") as run:
        assert reads == {"base": 1, "ja": 1, "math": 1}
        journey_of(run, lambda _: None).run()
    RunEvaluatorBuilder(run=folder / "run")()
    with RunStore.open(folder / "run") as store:
        assert Run.stored(store).begun is store
        export(store, folder / "out")
    assert reads == {"base": 1, "ja": 1, "math": 1}


def test_items_are_counted_within_the_first_model(folder: Path) -> None:
    events: list[Event] = []
    config = parse_config({**config_of(folder), "batch_size": 2}, "run.yaml")
    with begin(Run.open(config, folder), folder / "run") as run:
        journey_of(run, events.append).run()
    kinds = [event.kind for event in events]
    first = events[: kinds.index("ended")]
    counts = [event.answered for event in first if event.answered is not None]
    assert counts[0].done == 0 and counts[-1].done == counts[-1].total > 2
    assert len({each.timed for each in counts}) > 2, "several batches"
    assert {event.trial and event.trial.name for event in first[1:]} == {"base"}


def test_models_with_new_timestamps_are_reread_and_refused_if_changed(
    folder: Path, reads: Counter[str]
) -> None:
    begin(Run.open(parse_config(config_of(folder), "run.yaml"), folder), folder / "run").begun.close()
    reads.clear()
    (folder / "ja" / "model.safetensors").touch()
    with RunStore.open(folder / "run") as store:
        Run.stored(store)
        assert reads == {"ja": 1}
        shutil.copy(folder / "math" / "model.safetensors", folder / "ja" / "model.safetensors")
        with pytest.raises(KingyoError, match="model ja: expected the weights, config and tokenizer that"):
            Run.stored(store)


def test_a_database_error_during_a_run_is_explained(folder: Path) -> None:
    run = begin(Run.open(parse_config(config_of(folder), "run.yaml"), folder), folder / "run")
    with pytest.raises(KingyoError), run:
        raise sqlite3.OperationalError("database or disk is full")


def test_objectives_of_answers_give_a_front_and_generate_each_answer_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    write = LiveModel.write

    def counted(self: LiveModel, prompts: Sequence[str], **options: Any) -> Sequence[Written]:
        asked.append(len(prompts))
        return write(self, prompts, **options)

    monkeypatch.setattr(LiveModel, "write", counted)
    config = config_of(folder) | {
        "objectives": ["task", "answer_tokens", "answer_length"],
        "search": {"preset": "pareto", "settings": {"population": 4}},
        "controls": {"trained": False},
    }
    with begin(Run.open(parse_config(config, "run.yaml"), folder), folder / "run") as run:
        journey_of(run, lambda _: None).run()
        store = run.store
        assert store is not None
        n_scores = store.item_evaluations()
        front = read_front(store, MAIN)
        assert sum(asked) == n_scores
        for point in front.points:
            evaluation = store.evaluation(point.trial.id, "fit")
            assert evaluation is not None
            length = sum(len(each.answer) for each in evaluation.scores) / len(evaluation.scores)
            assert point.objectives[0] == evaluation.mean and point.objectives[2] == pytest.approx(-length)
            assert -length <= point.objectives[1] <= 0

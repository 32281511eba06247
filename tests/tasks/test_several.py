"""Combined tasks: each item is scored by its own task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

import pytest

from kingyo.core.types import SPLITS, Item, Split, Task
from kingyo.errors import KingyoError
from kingyo.tasks import (
    TaskSpec,
    build_tasks,
    load_splits,
    weights_of,
)
from kingyo.testing.tasks import ScriptedModel, TaskContract


def parrot() -> ScriptedModel:
    """Return a model that answers with the last word of the prompt."""
    return ScriptedModel(lambda prompt: prompt.split()[-1])


def write(folder: Path) -> dict[str, TaskSpec]:
    """Write two tasks of different sizes that share three questions."""
    specs: dict[str, TaskSpec] = {}
    for name, n in (("echo", 12), ("other", 30)):
        rows = [{"prompt": f"{'same' if i < 3 else name} {i}", "answer": str(i)} for i in range(n)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        specs[name] = TaskSpec.model_validate(
            {"name": name, "data": f"{name}.jsonl", "grader": "exact", "weight": 1 if name == "echo" else 3}
        )
    return specs


def test_each_task_is_asked_once_and_scores_keep_the_order(tmp_path: Path) -> None:
    specs = write(tmp_path)
    splits = load_splits(specs, tmp_path).splits
    task = build_tasks(specs, splits, tmp_path)
    mixed = sorted(splits["fit"], key=lambda item: item.id[-3:])
    model = parrot()
    scores = task.score(model, mixed)
    assert [each.item for each in scores] == [item.id for item in mixed]
    assert {each.score for each in scores} == {1.0}
    owner = {item.prompt: item.task for item in mixed if "same" not in item.prompt}
    tasks = [owner[prompt] for prompt in model.prompts if prompt in owner]
    assert [task for task, _ in groupby(tasks)] in (["echo", "other"], ["other", "echo"])
    assert len(model.prompts) == len(mixed) == 21
    assert weights_of(task) == {"echo": 1.0, "other": 3.0}


def test_an_item_of_no_task_is_refused(tmp_path: Path) -> None:
    specs = write(tmp_path)
    task = build_tasks(specs, load_splits(specs, tmp_path).splits, tmp_path)
    with pytest.raises(KingyoError, match=r"task of an item: .*received 'ecko'"):
        task.score(parrot(), [Item(id="x", prompt="x 1", answer="1", task="ecko")])


class TestSeveralTasks(TaskContract):
    @pytest.fixture(autouse=True)
    def _world(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.specs = write(tmp_path)

    def make(self, splits: Mapping[Split, Sequence[Item]]) -> Task:
        return build_tasks(self.specs, splits, self.folder)

    def make_items(self, split: Split) -> Sequence[Item]:
        splits = load_splits(self.specs, self.folder).splits
        assert set(splits) == set(SPLITS)
        return splits[split]

    def make_model(self) -> object:
        return parrot()

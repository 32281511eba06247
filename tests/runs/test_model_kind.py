"""A kind of model outside the package in runs, merges and commands."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from kingyo.cli.dry_run import memory_lines
from kingyo.core.types import SPLITS, Item, ItemScore, Split
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.engine import Sources, into, plan
from kingyo.merging.recipe import Recipe, Source
from kingyo.models.kinds import LoadOptions, ModelKind
from kingyo.runs.config_file import load_config
from kingyo.runs.dry_run import estimate_memory
from kingyo.runs.model_kind import check_items, kind_of_models, load_checkpoint
from kingyo.runs.run import Run
from kingyo.runs.setup import RunModels
from kingyo.search.runners.evaluate import InPlaceMerger
from kingyo.store import RunStore
from tests.cli.forked import run_forked

ENV = {**os.environ, "COLUMNS": "110", "OMP_NUM_THREADS": "1"}
PAGE = Path(__file__).parents[2] / "docs" / "kinds.md"
ITEMS = {
    split: [Item(id=f"{split}-{i}", prompt=f"[{i}, 1, {-i}, 2]", answer="a") for i in range(8)]
    for split in SPLITS
}


class RowTask:
    """Rows of numbers, and the class of each."""

    name = "rows"

    def __init__(self, needs: type, items: dict[Split, list[Item]]) -> None:
        self.needs = needs
        self._items = items

    def items(self, split: Split) -> Sequence[Item]:
        return self._items[split]

    def score(self, model, items: Sequence[Item]) -> Sequence[ItemScore]:
        answers = model.classify([json.loads(item.prompt) for item in items])
        return [
            ItemScore(item.id, float(answer == item.answer), answer)
            for item, answer in zip(items, answers, strict=True)
        ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the kind of the page, installed, and two of its models."""
    _, code = re.findall(r"^```python\n# (\S+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[0]
    (tmp_path / "perceptron.py").write_text(code)
    installed = tmp_path / "perceptron-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: perceptron\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[kingyo.model_kinds]\nperceptron = perceptron:PERCEPTRON\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "perceptron", raising=False)
    for i, name in enumerate(("one", "other")):
        torch.manual_seed(i)
        (tmp_path / name).mkdir()
        tensors = {"in.weight": torch.randn(8, 4), "out.weight": torch.randn(3, 8)}
        save_file(tensors, tmp_path / name / "model.safetensors", metadata={"format": "pt"})
        config = {"model_type": "perceptron", "width": 4, "labels": ["a", "b", "c"]}
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    return tmp_path


@pytest.fixture
def models(folder: Path) -> RunModels:
    return RunModels(base=None, sources={name: open_checkpoint(name, folder) for name in ("one", "other")})


@pytest.fixture
def kind(models: RunModels) -> ModelKind:
    return kind_of_models(models.named)


def task(kind: ModelKind, **items: list[Item]) -> RowTask:
    return RowTask(kind.provides[0], {**ITEMS, **items})


class Remote:
    """A live model whose weights have other names and types than those of the checkpoint."""

    dtype = "float32"

    def __init__(self) -> None:
        self.lists: dict[str, list[float]] = {}

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        self.lists = {name.upper(): tensor.flatten().tolist() for name, tensor in weights}


def test_a_live_model_without_torch_weights_gets_the_tensors_of_a_merge(
    models: RunModels, kind: ModelKind, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(kind), "load", lambda *_: Remote())
    monkeypatch.setattr(type(kind), "provides", ())
    remote = load_checkpoint(models.skeleton, kind, LoadOptions())
    one, other = models.named.values()
    assert (
        isinstance(remote, Remote) and remote.lists["OUT.WEIGHT"] == one.read("out.weight").flatten().tolist()
    )
    sources = Sources(models.by_reference, folder)
    recipe = Recipe(
        merge_method="linear",
        sources=tuple(
            Source(model=each, parameters={"weight": share})
            for each, share in zip(models.references.values(), (0.3, 0.7), strict=True)
        ),
    )
    assert InPlaceMerger(remote, sources)(recipe) is remote
    weights = {name: torch.empty_like(other.read(name)) for name in other.tensors}
    into(plan(recipe, sources), weights)
    assert remote.lists == {name.upper(): each.flatten().tolist() for name, each in weights.items()}


def test_a_test_item_that_no_model_can_answer_is_found_before_the_run(kind: ModelKind, folder: Path) -> None:
    check_items(task(kind), kind, folder / "one")
    with pytest.raises(KingyoError, match="expected a row of 4 numbers; received one of 2"):
        check_items(task(kind, test=[Item(id="short", prompt="[1, 2]", answer="a")]), kind, folder / "one")


@pytest.mark.parametrize("problem", [KeyError("row"), TypeError("row"), AttributeError("row"), SystemExit(3)])
def test_a_crash_of_the_users_task_is_found_before_the_run(
    kind: ModelKind, folder: Path, problem: BaseException
) -> None:
    class Crashing(RowTask):
        def score(self, model, items: Sequence[Item]) -> Sequence[ItemScore]:
            raise problem

    with pytest.raises(KingyoError) as caught:
        check_items(Crashing(kind.provides[0], ITEMS), kind, folder / "one")
    assert caught.value.argument == "task rows"
    assert re.fullmatch(rf"{type(problem).__name__}: .*test_model_kind\.py line \d+\)", caught.value.received)


def test_what_is_not_known_without_weights_is_no_crash(kind: ModelKind, folder: Path) -> None:
    class Curious(RowTask):
        def score(self, model, items: Sequence[Item]) -> Sequence[ItemScore]:
            return super().score(model.trained, items)

    check_items(Curious(kind.provides[0], ITEMS), kind, folder / "one")


ROWS = """
import json
from dataclasses import dataclass

from perceptron import NamesClasses

from kingyo.core.types import Item, ItemScore


class Rows:
    needs = NamesClasses

    @dataclass(frozen=True)
    class Settings:
        row: str = "row"
        label: str = "label"

    @staticmethod
    def read_item(row, settings):
        texts = row.texts()  # of a list its JSON; an exported item has no other columns
        return Item(id="", prompt=texts[settings.row], answer=texts[settings.label])

    def __init__(self, name, settings, splits, folder):
        self.name = name
        self._splits = splits

    def items(self, split):
        return self._splits[split]

    def score(self, model, items):
        answers = model.classify([json.loads(item.prompt) for item in items])
        return [ItemScore(i.id, float(a == i.answer), a) for i, a in zip(items, answers)]
"""
"""A kind of task for its models, with additional keys."""


@pytest.fixture
def run_yaml(folder: Path) -> Path:
    """A run that breeds its models."""
    (folder / "rows.py").write_text(ROWS)
    rows = [{"numbers": [i, 1, -i, 2], "label": "abc"[i % 3]} for i in range(12)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "sources": {"one": "one", "other": "other"},
        "task": {"kind": "rows.py:Rows", "data": "rows.jsonl", "row": "numbers"},
        "merge": {"method": "linear", "parameters": {"weight": {"from": 0, "to": 1}}},
        "search": {"strategy": "random"},
        "budget": {"candidates": 3},
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    return folder / "run.yaml"


def test_a_dry_run_omits_the_batch_if_the_kind_reports_none(run_yaml: Path) -> None:
    memory = estimate_memory(Run.open(load_config(run_yaml), run_yaml.parent))
    assert memory.batch is None
    line = next(iter(memory_lines(memory, "cpu")))
    assert line.startswith("memory of cpu: 224 bytes for 1 live model; plus working memory, and 448 bytes of")


@pytest.fixture
def unnamed(run_yaml: Path) -> Path:
    """The same folder; its models' configs do not say their kind, and nothing of it is installed."""
    folder = run_yaml.parent
    shutil.rmtree(folder / "perceptron-1.0.dist-info")
    code = (folder / "perceptron.py").read_text().replace('config.get("model_type") == "perceptron"', "False")
    (folder / "perceptron.py").write_text(code)
    for name in ("one", "other"):
        (folder / name / "config.json").write_text(json.dumps({"width": 4, "labels": ["a", "b", "c"]}))
    return run_yaml


def run_yaml_with_kind(run_yaml: Path, kind: str) -> str:
    """The run.yaml with a kind."""
    (run_yaml.parent / "named.yaml").write_text(f"kind: {kind}\n{run_yaml.read_text()}")
    return "named.yaml"


def kingyo(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_forked(words, folder, {**ENV, "PYTHONPATH": os.pathsep.join((str(folder), *sys.path))})


def test_a_run_yaml_can_name_the_kind(unnamed: Path) -> None:
    folder = unnamed.parent
    silent = kingyo(folder, "evolve", "run.yaml")
    assert silent.returncode == 1 and "received models of kind causal-lm" in silent.stderr
    kind_reference = "perceptron.py:PERCEPTRON"
    for words in (
        ["evolve", run_yaml_with_kind(unnamed, kind_reference), "--dry-run"],
        ["evolve", run_yaml_with_kind(unnamed, f"{kind_reference}\nrunner: processes"), "--run", "run"],
        ["resume", "run"],
        ["export", "run", "out"],
        ["evaluate", "out", "run"],
        ["evaluate", "out", "named.yaml"],
        ["evaluate", "out", "out/task.yaml", "--kind", kind_reference],
    ):
        done = kingyo(folder, *words)
        assert done.returncode == 0, (words, done.stderr)
    assert kingyo(folder, "evaluate", "out", "out/task.yaml").returncode == 1


def stored_versions_and_files(run: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The versions and the files that a run stores."""
    with RunStore.read(run) as store:
        versions, code = store.fact("versions"), store.fact("code")
    assert isinstance(versions, dict) and isinstance(code, dict)
    return versions, code  # type: ignore[return-value]


@pytest.mark.slow
def test_a_run_stores_the_version_of_the_plug_in_of_its_kind(run_yaml: Path) -> None:
    folder, run = run_yaml.parent, run_yaml.parent / "run"
    assert kingyo(folder, "evolve", "run.yaml", "--run", "run").returncode == 0
    versions, code = stored_versions_and_files(run)
    assert versions["perceptron"] == "1.0" and "rows.py" in code
    assert "tokenizers" not in versions, "its kind does not name it"
    with RunStore.open(run) as store:  # as a kingyo that did not store it left it
        store.set_fact("versions", {name: each for name, each in versions.items() if name != "perceptron"})
    metadata = folder / "perceptron-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))
    done = kingyo(folder, "resume", "run")
    assert done.returncode == 0, done.stderr
    assert stored_versions_and_files(run)[0] == {**versions, "perceptron": "1.1"}
    metadata.write_text(metadata.read_text().replace("Version: 1.1", "Version: 1.2"))
    done = kingyo(folder, "resume", "run")
    assert done.returncode == 1 and "perceptron 1.1; received perceptron 1.2" in done.stderr
    done = kingyo(folder, "resume", "run", "--accept-changes")
    assert done.returncode == 0, done.stderr
    assert stored_versions_and_files(run)[0] == {**versions, "perceptron": "1.2"}
    assert kingyo(folder, "resume", "run", "--rescore").returncode == 0
    assert stored_versions_and_files(run)[0] == {**versions, "perceptron": "1.2"}


def test_a_merge_has_a_card_of_its_kind_and_cannot_chat(folder: Path) -> None:
    recipe = {
        "merge_method": "linear",
        "models": [{"model": each, "parameters": {"weight": 0.5}} for each in ("one", "other")],
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    done = run_forked(["merge", "recipe.yaml", "merged"], folder, ENV)
    assert done.returncode == 0, done.stderr
    card = (folder / "merged" / "README.md").read_text()
    assert "library_name: perceptron\npipeline_tag: tabular-classification\n" in card
    assert "transformers" not in card
    (folder / "merged" / "task.yaml").write_text("prompt: '{row}'")
    done = run_forked(["chat", "merged"], folder, ENV)
    assert (done.returncode, done.stdout) == (1, "")
    assert "expected a model that writes text; received models of kind perceptron" in done.stderr

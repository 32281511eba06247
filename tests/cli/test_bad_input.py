"""Bad input through the real command: one clear error, exit code 1, no traceback, nothing half-written."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from kingyo.store import RunStore
from tests.cli.bad_runs import files
from tests.cli.conftest import World, command
from tests.databases import edited
from tests.models_on_disk import llama


def refused(world: World, *arguments: str | Path, says: str) -> None:
    """The command fails with this message, and changes no file."""
    before = files(world.folder)
    done = world.run(*arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("Error:") == 1
    assert says in done.stderr
    assert files(world.folder) == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sorces": {"a": "a"}}, "'sorces'. Did you mean 'sources'?"),
        ({"search": {"screen": {"itmes": 5}}}, "'itmes'. Did you mean 'items'?"),
        ({"search": {"screen": {"items": 0}}}, "search.screen: items: expected a number"),
        ({"search": {"screen": {"block": True}}}, "search.screen: block: expected a whole number"),
        ({"search": {"settings": {"sigma": True}, "strategy": "cma-es"}}, "sigma: expected a number"),
        ({"search": {"screen": {"items": 2.5}}}, "search.screen: items: expected a whole number"),
        ({"search": {"screen": {"alpha": 1.5}}}, "search.screen: alpha: expected a number less than 1"),
        ({"search": {"screen": {"rule": "halving"}}}, "search.screen: rule: expected 'none' or 'racing'"),
        ({"search": {"screen": {"choose": 3}}}, "search.screen: choose: expected 'informative'"),
        ({"search": {"screen": {"keep": 0}}}, "search.screen: keep: expected a number"),
        ({"search": {"screen": 5}}, "search.screen: expected"),
        ({"budget": {"candidate": 5}}, "Did you mean 'candidates'?"),
        ({"budget": {"candidates": 0}}, "greater than 0; received 0"),
        ({"budget": {"candidates": True}}, "budget.candidates: expected a whole number"),
        ({"budget": {"minutes": float("inf")}}, "budget.minutes: expected a finite number"),
        ({"budget": {"minutes": True}}, "budget.minutes: expected a number; received True"),
        ({"runner": "processes", "timeout": True}, "timeout: expected a number; received True"),
        ({"threads": 10**12}, "threads: expected a number less than or equal to 1024"),
        ({"budget": {}}, "candidates, item_evaluations and minutes"),
        ({"budget": None}, "budget: expected a value; received nothing"),
        ({"sources": {}}, "sources"),
        ({"sources": {"a": "a", "b": "nowhere"}}, "nowhere"),
        ({"sources": {"a": "a", "uniform": "b"}}, "another name than 'uniform'"),
        ({"sources": {"a": "a", "base": "b"}}, "another name than 'base'"),
        ({"sources": {"a": "a", "bred": "b"}}, "another name than 'bred'"),
        ({"base": None}, "base: expected a base for task_arithmetic"),
        ({"merge": {"method": "tiees"}}, "Did you mean 'ties'?"),
        ({"merge": {"parameters": {"wieght": 1.0}}}, "Did you mean 'weight'?"),
        (
            {"merge": {"parameters": {"weight": {"from": 1, "to": 0}}}},
            "from (1) must be below to (0); received",
        ),
        (
            {"merge": {"parameters": {"weight": {"from": False, "to": True}}}},
            "merge.parameters.weight.from: expected a number; received False",
        ),
        ({"merge": {"parameters": {"weight": "yes"}}}, "merge.parameters.weight: expected"),
        ({"merge": {"parameters": {"weight": float("nan")}}}, "merge.parameters.weight: expected"),
        (
            {"merge": {"parameters": {"weight": {"from": -1.5e308, "to": 1.5e308}}}},
            "merge.parameters.weight: expected from (-1.5e+308) and to (1.5e+308) must not be so far apart",
        ),
        ({"merge": {"parameters": {"weight": 0.5}}}, "merge.parameters: expected at least one range"),
        ({"merge": {"method": "ties", "parameters": {"density": 1.5}}}, "density"),
        ({"merge": {"method": []}}, "method"),
        ({"merge": {"method": ["linear", "tiees"]}}, "Did you mean 'ties'?"),
        ({"merge": {"method": ["ties", "ties"]}}, "expected different methods; received ties"),
        ({"merge": {"method": ["linear", "slerp"]}}, "at most 1 besides the base for slerp"),
        ({"merge": {"method": ["linear", "ties"], "parameters": {"wieght": 1.0}}}, "Did you mean 'weight'?"),
        ({"merge": {"choose_sources": {"at_mots": 1}}}, "Did you mean 'at_most'?"),
        ({"merge": {"choose_sources": {"at_most": 0}}}, "at_most: expected a number greater than 0"),
        (
            {"merge": {"choose_sources": {"at_least": 3}}},
            "at_least: expected at most 2, the number of sources",
        ),
        (
            {"merge": {"choose_sources": True}, "search": {"strategy": "cma-es"}},
            "a float axis",
        ),
        ({"merge": {"groups": "blocks"}}, "Did you mean 'block'?"),
        ({"merge": {"groups": "layers:0"}}, "layers:"),
        ({"search": {"strategy": "cmaes"}}, "Did you mean 'cma-es'?"),
        ({"search": {"strategy": "cma-es", "settings": {"popluation": 5}}}, "Did you mean 'population'?"),
        ({"search": {"preset": "sakana"}}, "Did you mean 'sakana-ps'?"),
        (
            {"search": {"preset": "sakana-ps"}},
            "merge.method: expected 'dare_ties', which belongs to the preset sakana-ps",
        ),
        (
            {"search": {"preset": "textbook-ga", "strategy": "random"}},
            "search.strategy: expected 'ga', which belongs to the preset textbook-ga",
        ),
        ({"device": "gpu7"}, "device"),
        ({"budget": {"item_evaluations": 1}}, "budget.item_evaluations: expected at least 16"),
        ({"workers": 2}, "received the keys name"),
        ({"search": {"preset": "pareto"}}, "objectives: expected two or more beside the preset pareto"),
        ({"objectives": ["a", "b"]}, "received the keys name"),
        (
            {"search": {"strategy": "islands", "settings": {"strategy": "cmaes"}}},
            "search.settings: strategy: expected",
        ),
        (
            {"search": {"strategy": "islands", "settings": {"strategy": "cma-es"}}},
            "Set search.settings.migrants: 0",
        ),
    ],
    ids=str,
)
def test_run_yaml(world: World, changes: dict[str, object], says: str) -> None:
    refused(world, "evolve", world.config(**changes), says=says)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data": "gone.jsonl"}, "gone.jsonl"),
        ({"grader": "exakt"}, "Did you mean 'exact'?"),
        ({"grader": "grade.py:evn"}, "Did you mean 'even'?"),
        ({"grader": "gone.py:even"}, "gone.py"),
        ({"promt": "{prompt}"}, "Did you mean 'prompt'?"),
        ({"prompt": "{question}"}, "question"),
        ({"answer": "anwser"}, "Did you mean 'answer'?"),
        ({"splits": {"fit": 30, "validation": 10, "test": 10}}, "40"),
        ({"splits": {"fit": 0}}, "splits.fit"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"weight": True}, "task.weight: expected a number; received True"),
        ({"grader_timeout": True}, "task.grader_timeout: expected a number; received True"),
        ({"max_new_tokens": 10**9}, "max_new_tokens: expected a number less than or equal to 1000000"),
        ({"name": "../x"}, "task.name: expected"),
    ],
    ids=str,
)
def test_task(world: World, changes: dict[str, object], says: str) -> None:
    task = {**yaml.safe_load((world.folder / "task.yaml").read_text()), **changes}
    refused(world, "evolve", world.config(task=task), says=says)


def test_broken_lines_are_named(world: World) -> None:
    lines = (world.folder / "items.jsonl").read_text().splitlines()
    (world.folder / "items.jsonl").write_text("\n".join([*lines[:6], '{"prompt": "7 +', *lines[6:]]))
    refused(world, "evolve", "run.yaml", says="items.jsonl line 7")


def test_an_empty_data_file(world: World) -> None:
    (world.folder / "items.jsonl").write_text("")
    refused(world, "evolve", "run.yaml", says="items.jsonl")


def test_missing_files(world: World) -> None:
    refused(world, "evolve", "gone.yaml", says="gone.yaml")
    refused(world, "show", "runs/gone", says="no such folder")
    refused(world, "resume", "runs/gone", says="no such folder")
    refused(world, "export", "runs/gone", "out", says="no such folder")
    refused(world, "merge", "gone.yaml", "out", says="gone.yaml")
    refused(world, "evaluate", "gone", "task.yaml", says="gone")


def test_the_base_is_not_a_source_of_a_method_with_a_base(world: World) -> None:
    says = "in a run.yaml, remove the base from `sources`"
    refused(world, "evolve", world.config(sources={"a": "a", "z": "base"}), says=says)


def test_sources_that_do_not_fit_name_both_shapes(world: World) -> None:
    shutil.rmtree(world.folder / "b")
    llama(world.folder / "b", hidden=32)
    refused(world, "evolve", "run.yaml", says="[64, 16]")
    refused(world, "evolve", "run.yaml", says="[64, 32]")


def test_nan_weights_are_found_before_the_search(world: World) -> None:
    path = world.folder / "b" / "model.safetensors"
    weights = load_file(path)
    name = sorted(weights)[3]
    weights[name].flatten()[0] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    refused(world, "evolve", "run.yaml", says=name)


def test_truncated_weights(world: World) -> None:
    path = world.folder / "b" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused(world, "evolve", "run.yaml", says="model.safetensors")


def test_pickled_weights_are_never_opened(world: World) -> None:
    (world.folder / "b" / "model.safetensors").unlink()
    torch.save({"x": torch.zeros(1)}, world.folder / "b" / "pytorch_model.bin")
    refused(world, "evolve", "run.yaml", says="safetensors")


def test_a_run_folder_that_exists(world: World) -> None:
    (world.folder / "runs" / "small").mkdir(parents=True)
    (world.folder / "runs" / "small" / "mine.txt").write_text("precious")
    refused(world, "evolve", "run.yaml", says="a folder without one, which is no run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(world: World) -> None:
    (world.folder / "runs").mkdir(mode=0o500)
    refused(world, "evolve", "run.yaml", says="can be written")


def test_a_run_folder_under_a_file(world: World) -> None:
    refused(world, "evolve", "run.yaml", "--run", "task.yaml/run", says="can be written")


def test_an_error_in_a_grader_names_it_and_keeps_the_run(world: World) -> None:
    task = {**yaml.safe_load((world.folder / "task.yaml").read_text()), "grader": "grade.py:raises"}
    done = world.run("evolve", world.config(task=task))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "no idea how to grade this" in done.stderr
    assert "kingyo resume" in done.stderr
    grader = world.folder / "grade.py"
    grader.write_text(
        grader.read_text().replace('raise RuntimeError("no idea how to grade this")', "return 1.0")
    )
    done = world.run("resume", "runs/small")
    assert done.returncode == 0, done.stderr


def test_a_grader_that_hangs_ends_the_run_and_not_the_patience(world: World) -> None:
    task = {**yaml.safe_load((world.folder / "task.yaml").read_text()), "grader": "grade.py:hangs"}
    done = world.run("evolve", world.config(task={**task, "grader_timeout": 0.3}))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "grader grade.py:hangs on item" in done.stderr
    assert "expected a score within 0.3 s; received none" in done.stderr
    assert "kingyo resume" in done.stderr


def test_a_grader_that_returns_nonsense(world: World) -> None:
    task = {**yaml.safe_load((world.folder / "task.yaml").read_text()), "grader": "grade.py:picky"}
    done = world.run("evolve", world.config(task=task))
    assert done.returncode == 1
    assert "7.5" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_processes_on_one_run(world: World) -> None:
    with subprocess.Popen(
        command("evolve", "run.yaml"),
        cwd=world.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stderr is not None
        while "Baselines" not in first.stderr.readline():
            assert first.poll() is None
        second = world.run("resume", "runs/small")
        assert second.returncode == 1
        assert "another process" in second.stderr
        assert "Traceback" not in second.stderr
        first.kill()


def test_an_item_that_is_too_long_is_found_before_the_search(world: World) -> None:
    rows = (world.folder / "items.jsonl").read_text()
    (world.folder / "items.jsonl").write_text(rows + '{"prompt": "%s", "answer": "1"}\n' % ("7 " * 99))
    task = yaml.safe_load((world.folder / "task.yaml").read_text())
    for split in ("fit", "validation", "test"):
        task["splits"] = {"fit": 1, "validation": 1, "test": 1, split: 39}
        refused(world, "evolve", world.config(task=task), says="it begins '7 7 7 7")


def test_a_source_wider_than_the_base(world: World) -> None:
    base = llama(world.folder / "half", dtype="bfloat16")
    for each in ("base", "a"):
        shutil.rmtree(world.folder / each)
        shutil.copytree(base, world.folder / each)
    refused(world, "evolve", "run.yaml", says="sources.b: lm_head.weight: expected weights that fit")
    done = world.run("evolve", world.config(merge={"dtype": "float32"}, budget={"candidates": 1}))
    assert done.returncode == 0, done.stderr


def test_a_run_killed_while_it_was_set_up(world: World) -> None:
    folder = world.folder / "runs" / "small"
    folder.mkdir(parents=True)
    (folder / "run.db").touch()
    for name in ("show", "report", "resume", "export"):
        refused(world, name, "runs/small", *(["out"] if name == "export" else []), says="an empty file")
    connection = sqlite3.connect(folder / "run.db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    for has_tables in (False, True):
        if has_tables:
            RunStore.open(folder).close()
        for name in ("show", "report"):
            done = world.run(name, "runs/small")
            assert done.returncode == 1, name
            assert "stopped before its first step" in done.stderr
            assert "Traceback" not in done.stderr
    assert "stopped before its first step" in world.run("resume", "runs/small").stderr


def test_a_corrupt_database(world: World) -> None:
    folder = world.folder / "runs" / "small"
    folder.mkdir(parents=True)
    (folder / "run.db").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)
    before = (folder / "run.db").read_bytes()
    for name in ("show", "resume", "report"):
        done = world.run(name, "runs/small")
        assert done.returncode == 1, name
        assert "sound SQLite database" in done.stderr
        assert "Traceback" not in done.stderr
    assert (folder / "run.db").read_bytes() == before


def test_a_database_with_a_torn_page(finished: World, world: World) -> None:
    folder = world.folder / "runs" / "small"
    shutil.copytree(finished.folder / "runs" / "small", folder)
    with sqlite3.connect(folder / "run.db") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray((folder / "run.db").read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 64] = b"\xff" * 64
    (folder / "run.db").write_bytes(content)
    done = world.run("resume", "runs/small")
    assert done.returncode == 1
    assert "sound SQLite database" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("trials SET genome = 'x'", "the genome of trial 1 is not JSON"),
        ("trials SET parents = '[null]'", "parents of trial 1 is not a list of numbers"),
        ("facts SET value = '{'", "is not JSON"),
        ("items SET content = '[]'", "an item has changed"),
        ("searches SET description = '3'", "is not a dict"),
        ("outcomes SET objectives = '7'", "the objectives of trial"),
        ("trials SET recipe = 'x'", "not JSON"),
        ("trials SET recipe = '[]'", "not a mapping"),
        ("trials SET recipe = '{}'", "in run.db: merge_method: nothing"),
        ("trials SET recipe_hash = 'x'", "received another recipe than that of its scores"),
    ],
)
def test_a_database_that_was_edited(finished: World, world: World, change: str, says: str) -> None:
    folder = world.folder / "runs" / "small"
    shutil.copytree(finished.folder / "runs" / "small", folder)
    with edited(folder) as connection:
        connection.execute(f"UPDATE {change}")
    done = world.run("resume" if "outcomes" in change else "show", "runs/small")
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert says in done.stderr


def test_an_export_that_exists_is_left_alone(finished: World, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("precious")
    done = finished.run("export", "runs/small", tmp_path / "out")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_export_of_no_such_trial(finished: World, tmp_path: Path) -> None:
    done = finished.run("export", "runs/small", tmp_path / "out", "--trial", "999")
    assert done.returncode == 1
    assert "999" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_recipe_with_an_unknown_key(world: World) -> None:
    recipe = {"merge_method": "linear", "modles": [{"model": "a"}], "models": [{"model": "a"}]}
    (world.folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    refused(world, "merge", "recipe.yaml", "out", says="Did you mean 'models'?")


def test_init_leaves_no_file_when_models_do_not_fit(world: World) -> None:
    shutil.rmtree(world.folder / "b")
    llama(world.folder / "b", layers=2)
    refused(
        world, "init", "mine.yaml", "--base", "base", "--source", "a", "--source", "b",
        "--task", "items.jsonl", "--grader", "exact", says="layers",
    )  # fmt: skip


@pytest.mark.parametrize("command", ["evolve", "layers", "evaluate", "chat"])
def test_a_chat_template_that_fails_is_one_error_that_names_the_model(world: World, command: str) -> None:
    for name in ("base", "a", "b"):
        (world.folder / name / "chat_template.jinja").write_text("{{ raise_exception('no such role') }}")
    task = {**yaml.safe_load((world.folder / "task.yaml").read_text()), "chat": True}
    (world.folder / "task.yaml").write_text(yaml.safe_dump(task))
    config = world.config(task=task)
    done = world.run(command, *{"evaluate": ["a", "task.yaml"], "chat": ["a"]}.get(command, [config]))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "received TemplateError: no such role" in done.stderr
    assert f"chat template of {world.folder}" in done.stderr
    assert not (world.folder / "runs").exists()


@pytest.mark.parametrize("where", ["a", "none/answers.jsonl"])
def test_an_unwritable_answers_file_is_reported_before_scoring(world: World, where: str) -> None:
    done = world.run("evaluate", "a", "task.yaml", "--answers", where, env={"GRADED": "graded.log"})
    assert done.returncode == 1
    assert done.stderr.startswith("Error: --answers: expected a writable file; received ")
    assert not (world.folder / "graded.log").exists()

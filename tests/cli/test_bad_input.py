"""Bad input through the real command: one clear error, exit code 1, no traceback, nothing half-written."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file, save_file

from tests.cli.conftest import RUN, World
from tests.cli.merging import contents
from tests.models_on_disk import llama
from tests.stores import query


def refused(world: World, *arguments: str | Path, says: str) -> None:
    """The command fails with this message, and changes no file."""
    before = contents(world.folder)
    done = world.fails(*arguments)
    assert done.stderr.count("Error:") == 1
    assert says in done.stderr
    assert contents(world.folder) == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sorces": {"a": "a"}}, "'sorces'. Did you mean 'sources'?"),
        ({"budget": {}}, "candidates, item_evaluations and minutes"),
        ({"sources": {"a": "a", "uniform": "b"}}, "another name than 'uniform'"),
        ({"base": None}, "base: expected a base for task_arithmetic"),
        (
            {"merge": {"parameters": {"weight": {"from": 1, "to": 0}}}},
            "from (1) must be below to (0); received",
        ),
        (
            {"merge": {"parameters": {"weight": {"from": 0, "to": 1, "start": [0, 2]}}}},
            "start (2) must lie within 0..1",
        ),
        ({"merge": {"groups": "blocks"}}, "Did you mean 'block'?"),
        (
            {"search": {"preset": "sakana-ps"}},
            "merge.method: expected 'dare_ties', which belongs to the preset sakana-ps",
        ),
        ({"search": {"preset": "pareto"}}, "objectives: expected two or more beside the preset pareto"),
    ],
    ids=str,
)
def test_run_yaml(world: World, changes: dict[str, object], says: str) -> None:
    refused(world, "evolve", world.config(**changes), says=says)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"grader": "grade.py:evn"}, "Did you mean 'even'?"),
        ({"prompt": "{question}"}, "question"),
    ],
    ids=str,
)
def test_task(world: World, changes: dict[str, object], says: str) -> None:
    task = {**yaml.safe_load((world.folder / "task.yaml").read_text()), **changes}
    refused(world, "evolve", world.config(task=task), says=says)


def test_missing_files(world: World) -> None:
    refused(world, "evolve", "gone.yaml", says="gone.yaml")
    refused(world, "show", "runs/gone", says="no such folder")
    refused(world, "resume", "runs/gone", says="no such folder")
    refused(world, "export", "runs/gone", "out", says="no such folder")
    refused(world, "merge", "gone.yaml", "out", says="gone.yaml")
    refused(world, "evaluate", "gone", "task.yaml", says="gone")


def test_nan_weights_are_found_before_the_search(world: World) -> None:
    path = world.folder / "b" / "model.safetensors"
    weights = load_file(path)
    name = sorted(weights)[3]
    weights[name].flatten()[0] = float("nan")
    save_file(weights, path, metadata={"format": "pt"})
    refused(world, "evolve", "run.yaml", says=name)


INIT = ("--base", "base", "--source", "a", "--source", "b", "--task", "items.jsonl", "--grader", "exact")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("evaluate", "a", "task.yaml", "--split", ""), "received ''. Known: all, fit, test, validation."),
        (("evaluate", "a", "task.yaml", "--answers", "run.yaml"), "--answers: expected a new file"),
        (("init", "new/run.yaml", *INIT), "Error: new/run.yaml: expected a file in an existing folder"),
        (("init", "grade.py/run.yaml", *INIT), "received no folder grade.py"),
    ],
    ids=str,
)
def test_arguments(world: World, arguments: tuple[str, ...], says: str) -> None:
    refused(world, *arguments, says=says)


def test_the_score_outlives_answers_that_cannot_be_written(world: World) -> None:
    words = ("evaluate", "a", "task.yaml", "--answers", "x" * 250)
    refused(world, *words, says="received File name too long")
    assert "a on even (test): " in world.run(*words).stdout
    done = world.run(*words, "--json")
    record = json.loads(done.stdout)
    assert (done.returncode, record["n"], record["error"]["argument"]) == (1, 12, "--answers")
    assert record["low"] <= record["score"] <= record["high"]


def test_init_on_a_full_disk_leaves_no_file(world: World) -> None:
    """A file size limit represents a full disk."""
    before = contents(world.folder)
    script = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)); {RUN}"
    done = subprocess.run(
        [sys.executable, "-c", script, "init", "new.yaml", *INIT],
        cwd=world.folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Error: new.yaml: expected a file that can be written; received File too large" in done.stderr
    assert contents(world.folder) == before


def test_an_error_in_a_grader_names_it_and_keeps_the_run(world: World) -> None:
    task = {**yaml.safe_load((world.folder / "task.yaml").read_text()), "grader": "grade.py:raises"}
    done = world.fails("evolve", world.config(task=task, controls=None, budget={"candidates": 2}))
    assert "no idea how to grade this" in done.stderr
    assert "kingyo resume" in done.stderr
    grader = world.folder / "grade.py"
    grader.write_text(
        grader.read_text().replace('raise RuntimeError("no idea how to grade this")', "return 1.0")
    )
    world.ok("resume", "runs/small")


def test_a_grader_that_hangs_ends_the_run_and_not_the_patience(world: World) -> None:
    task = {**yaml.safe_load((world.folder / "task.yaml").read_text()), "grader": "grade.py:hangs"}
    done = world.fails("evolve", world.config(task={**task, "grader_timeout": 0.3}))
    assert "grader grade.py:hangs on item" in done.stderr
    assert "expected a score within 0.3 s; received none" in done.stderr
    assert "kingyo resume" in done.stderr


def test_a_source_wider_than_the_base(world: World) -> None:
    base = llama(world.folder / "half", dtype="bfloat16")
    for each in ("base", "a"):
        shutil.rmtree(world.folder / each)
        shutil.copytree(base, world.folder / each)
    refused(world, "evolve", "run.yaml", says="sources.b: lm_head.weight: expected weights that fit")


def test_a_run_killed_while_it_was_set_up(world: World) -> None:
    folder = world.folder / "runs" / "small"
    folder.mkdir(parents=True)
    (folder / "run.db").touch()
    for name in ("show", "report", "resume", "export"):
        refused(
            world, name, "runs/small", *(["out"] if name == "export" else []), says="runs/small: expected"
        )
    refused(world, "evolve", "run.yaml", says="other files. Choose another run folder")  # not `kingyo resume`
    query(folder, "PRAGMA journal_mode = WAL")
    for name in ("show", "report"):
        world.fails(name, "runs/small", says="stopped before its first step")
    assert "stopped before its first step" in world.run("resume", "runs/small").stderr


def test_a_corrupt_database(world: World) -> None:
    folder = world.folder / "runs" / "small"
    folder.mkdir(parents=True)
    (folder / "run.db").write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 40)
    before = (folder / "run.db").read_bytes()
    for name in ("show", "resume", "report"):
        world.fails(name, "runs/small", says="sound SQLite database")
    assert (folder / "run.db").read_bytes() == before


def test_a_database_with_a_torn_page(finished: World, world: World) -> None:
    folder = world.folder / "runs" / "small"
    shutil.copytree(finished.folder / "runs" / "small", folder)
    query(folder, "PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray((folder / "run.db").read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 64] = b"\xff" * 64
    (folder / "run.db").write_bytes(content)
    world.fails("resume", "runs/small", says="sound SQLite database")


def test_a_chat_template_that_fails_is_one_error_that_names_the_model(world: World) -> None:
    for name in ("base", "a", "b"):
        (world.folder / name / "chat_template.jinja").write_text("{{ raise_exception('no such role') }}")
    task = {**yaml.safe_load((world.folder / "task.yaml").read_text()), "chat": True}
    done = world.fails("evolve", world.config(task=task))
    assert "received TemplateError: no such role" in done.stderr
    assert f"chat template of {world.folder}" in done.stderr
    assert not (world.folder / "runs").exists()

"""`kingyo scout --task` as its users call it, on the zoo."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from kingyo.runs.choice import CHOSEN
from kingyo.runs.setup import stored_config
from kingyo.store import RunStore
from tests.cli.conftest import stopped
from tests.cli.forked import run_forked
from tests.scout.chosen import FIT, NAMES, ZOO, write_task
from tests.slow import slow

MODELS = [str(ZOO / name) for name in ("base", *NAMES)]


def scout(folder: Path, *arguments: str, models: Sequence[str] = MODELS) -> subprocess.CompletedProcess[str]:
    write_task(folder)
    return run_forked(["scout", *models, "--task", "ja-math.yaml", *arguments], folder, os.environ)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished choice."""
    folder = tmp_path_factory.mktemp("scouted")
    done = scout(folder, "--out", "found")
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout, encoding="utf-8")
    (folder / "stderr.txt").write_text(done.stderr, encoding="utf-8")
    return folder


def test_it_prints_reasons_and_the_next_command(folder: Path) -> None:
    text = (folder / "stdout.txt").read_text(encoding="utf-8")
    for name in ("ja", "math-en", "math-sym"):
        assert any(line.split()[:1] == [name] and "chosen" in line for line in text.splitlines()), text
    assert "Their plain merge solves" in text
    assert text.splitlines()[-1] == "Next: `kingyo resume found` breeds a model from them."
    errors = (folder / "stderr.txt").read_text(encoding="utf-8")
    assert "1. ja: +" in errors and f"with {FIT} fit items, the choice may take luck for a gain" in errors


def chosen(run: Path) -> list[str]:
    with RunStore.read(run) as store:
        return list(stored_config(store)[0].sources)


def test_it_leaves_a_run_that_goes_on(folder: Path, tmp_path: Path) -> None:
    assert chosen(folder / "found") == ["ja", "math-sym", "math-en"]
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    shown = run_forked(["show", "found"], tmp_path, os.environ)
    assert shown.returncode == 0 and "3 of 5 candidates were chosen as sources" in shown.stdout, shown.stderr
    assert "the choice may take luck for a gain" in shown.stdout


def test_a_second_call_scores_nothing_and_prints_json(folder: Path) -> None:
    done = scout(folder, "--out", "found", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["choice"]["chosen"] == ["ja", "math-sym", "math-en"] and record["not_tried"] == {}
    assert f"{record['choice']['item_evaluations']:,} answers" in (folder / "stdout.txt").read_text("utf-8")


def test_a_choice_among_several_groups_names_the_others(tmp_path: Path) -> None:
    pool = [str(ZOO / "pool" / name) for name in ("base", "manner", "half")]
    done = scout(tmp_path, "--dry-run", models=[*MODELS, *pool])
    assert done.returncode == 0, done.stderr
    (note,) = (line for line in done.stderr.splitlines() if "groups cannot be mixed" in line)
    assert f"for {ZOO / 'base'}." in note
    assert note.endswith(f"For another group: --base {ZOO / 'pool' / 'base'} (2).")


def progress(out: Path) -> int:
    """Return how many tensors were measured and trial merges scored, on some items each."""
    counts = {"evidence.db": "SELECT COUNT(*) FROM sums", "run.db": "SELECT COUNT(*) FROM parts"}
    return sum(_count(out / name, query) for name, query in counts.items())


def _count(file: Path, query: str) -> int:
    if not file.exists():
        return 0
    with closing(sqlite3.connect(file, timeout=30)) as connection:
        try:
            return int(connection.execute(query).fetchone()[0])
        except sqlite3.OperationalError:  # the tables are being made
            return 0


def kill(folder: Path, moment: int) -> None:
    """Kill a command that goes on with the choice when it has come so far."""
    words = ("scout", *MODELS, "--task", "ja-math.yaml", "--out", "found")
    code, _ = stopped(folder, *words, when=lambda: progress(folder / "found") >= moment)
    assert code == -signal.SIGKILL, "it ended before it could be killed"


@pytest.mark.parametrize("moments", [2, *slow(10)])
def test_however_often_it_is_killed_it_chooses_the_same(folder: Path, tmp_path: Path, moments: int) -> None:
    """From the first tensor to just before the last trial merge."""
    write_task(tmp_path)
    last = progress(folder / "found") - 1
    for i in range(moments):
        kill(tmp_path, 1 + round((last - 1) * i / (moments - 1)))
    done = scout(tmp_path, "--out", "found")
    assert done.returncode == 0, done.stderr
    with RunStore.read(tmp_path / "found") as one, RunStore.read(folder / "found") as other:
        now, before = one.fact(CHOSEN), other.fact(CHOSEN)
    assert now is not None and before is not None
    assert replace(now, minutes=0.0) == replace(before, minutes=0.0)


def test_other_candidates_need_another_folder(folder: Path) -> None:
    done = scout(folder, "--out", "found", models=MODELS[:-1])
    assert done.returncode == 1 and "Choose another folder with --out." in done.stderr, done.stderr


def test_a_dry_run_says_what_it_costs_and_writes_nothing(tmp_path: Path) -> None:
    done = scout(tmp_path, "--dry-run", "--json", "--item-evaluations", "1000")
    plan = json.loads(done.stdout)["plan"]
    assert plan["candidates"] == 5 and plan["fit_items"] == FIT
    assert plan["answers_of_single_candidates"] == 6 * FIT // 2
    assert plan["bytes"] > 10_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["ja-math.yaml"]
    text = scout(tmp_path, "--dry-run").stdout
    assert f"{FIT} fit items" in text and "--item-evaluations or minutes end it." in text


@pytest.mark.parametrize(
    ("arguments", "models", "words"),
    [
        (("--item-evaluations", "1", "--dry-run"), MODELS, ("--item-evaluations", "at least 84 answers")),
        ((), MODELS[:2], ("--task", "two candidates or more")),
        (("--max-size", "2kB"), MODELS, ("--max-size", "the smallest candidate")),
        (("--task", "gone.yaml"), MODELS, ("gone.yaml",)),
        (("--most", f"{10**23}"), MODELS, ("--most",)),
        (("--minutes", "nan"), MODELS, ("--minutes",)),
    ],
)
def test_bad_input_is_one_error(
    tmp_path: Path, arguments: tuple[str, ...], models: Sequence[str], words: tuple[str, ...]
) -> None:
    done = scout(tmp_path, *arguments, models=models)
    assert done.returncode != 0 and "Traceback" not in done.stderr, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert not (tmp_path / "runs").exists()


def test_an_error_in_the_task_names_its_file_and_comes_before_the_tables(tmp_path: Path) -> None:
    write_task(tmp_path, grader="gone.py:grade").rename(tmp_path / "other.yaml")
    done = scout(tmp_path, "--task", "other.yaml", "--dry-run")
    assert done.returncode == 1 and done.stdout == "", done.stdout
    assert done.stderr.startswith("Error: other.yaml: ") and "a Python file" in done.stderr, done.stderr


@pytest.mark.slow
def test_a_budget_ends_it_early_and_more_continues(tmp_path: Path) -> None:
    done = scout(tmp_path, "--item-evaluations", "150", "--json")
    assert done.returncode == 1 and "none within the budget" in done.stdout, done.stdout
    done = scout(tmp_path, "--item-evaluations", "400", "--json")
    first = json.loads(done.stdout)["choice"]
    assert first["verdict"] == "open" and first["item_evaluations"] <= 400 and first["chosen"]
    done = scout(tmp_path, "--most", "1", "--json")
    assert done.returncode == 1 and "--out" in done.stdout
    record = json.loads(scout(tmp_path, "--json").stdout)["choice"]
    assert record["chosen"] == ["ja", "math-sym", "math-en"]


@pytest.mark.slow
def test_limits_of_number_and_size(tmp_path: Path) -> None:
    one = scout(tmp_path, "--most", "1", "--out", "one")
    assert "1. ja: +" in one.stderr and "1 of 5 sources; no further one is added" in one.stderr
    size = json.loads(scout(tmp_path, "--max-size", "5MB", "--out", "size", "--json").stdout)["choice"]
    assert len(size["chosen"]) == 2 and size["verdict"] == "full"

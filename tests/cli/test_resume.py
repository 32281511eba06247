"""Runs that are interrupted or killed, in real processes, go on to the same end."""

import json
import random
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from kingyo.search.evolution import RACED
from kingyo.store import RunStore
from tests.cli.conftest import World, evaluations, interrupted
from tests.cli.resumed import facts
from tests.models_on_disk import fine_tuned
from tests.stores import edited, query

KILLS = 10


@pytest.mark.slow
def test_killed_ten_times_it_ends_the_same(finished: World, world: World) -> None:
    run = world.folder / "runs" / "small"
    log = world.folder / "graded.txt"
    total = evaluations(finished.folder / "runs" / "small")
    dice = random.Random(20261125)
    stops = sorted(dice.sample(range(total), KILLS))
    arguments: tuple[str, ...] = ("evolve", "run.yaml")
    for stop in stops:
        interrupted(world, *arguments, after=stop, env={"GRADED": str(log)})
        arguments = (
            ("resume", "runs/small")
            if query(run, "SELECT * FROM facts WHERE key = 'config'")
            else ("evolve", "run.yaml")
        )
        if arguments[0] == "evolve" and run.exists():
            subprocess.run(["rm", "-r", str(run)], check=True)
    world.ok("resume", "runs/small", env={"GRADED": str(log)})
    assert facts(run) == facts(finished.folder / "runs" / "small")
    graded = Counter(log.read_text().split())
    # Ten evaluations at most were in flight when they were killed.
    assert sum(graded.values()) <= len(facts(run)["scores"]) + KILLS * 16


@pytest.mark.slow
def test_killed_between_rounds_it_ends_the_same(world: World) -> None:
    search = {"preset": "fast", "screen": {"items": 6}}
    config = world.config(search=search, budget={"item_evaluations": 96}, controls={"random": True})
    run, undisturbed = world.folder / "runs" / "small", world.folder / "undisturbed"
    world.ok("evolve", config, "--run", undisturbed)
    total = evaluations(undisturbed)
    arguments: tuple[str | Path, ...] = ("evolve", config)
    for stop in sorted(random.Random(1).sample(range(4, total - 1), 3)):
        interrupted(world, *arguments, after=stop)
        arguments = ("resume", "runs/small")
    world.ok("resume", "runs/small")
    assert facts(run) == facts(undisturbed)


def test_a_signal_ends_it_cleanly_with_the_command_to_continue(finished: World, world: World) -> None:
    run = world.folder / "runs" / "small"
    code, errors = interrupted(world, "evolve", "run.yaml", after=8, sent=signal.SIGTERM)
    assert code == 130
    assert "kingyo resume runs/small" in errors
    assert "Traceback" not in errors
    assert world.show("runs/small")["status"] == "stopped"
    world.ok("resume", "runs/small")
    assert facts(run) == facts(finished.folder / "runs" / "small")


def test_a_model_that_has_changed_since_is_refused(world: World) -> None:
    world.ok("evolve", world.config(budget={"candidates": 2}, controls=None))
    old = world.folder / "b"
    card = old / "README.md"
    card.write_text("a card decides nothing")
    world.ok("resume", "runs/small")
    old.rename(world.folder / "old")
    fine_tuned(world.folder / "base", old, seed=3, scale=0.3)
    for arguments in (("resume", "runs/small"), ("export", "runs/small", "out")):
        world.fails(
            *arguments, says="model b: expected the weights, config and tokenizer that the run began with"
        )
    assert not (world.folder / "out").exists()


def test_a_finished_run_is_not_replayed(short: World) -> None:
    run = short.folder / "runs" / "small"
    with edited(run) as database:  # a replay would refuse other genomes
        database.execute("UPDATE trials SET genome = '[0.123, 0.4]' WHERE search = 'main' AND number = 1")
    before = facts(run)
    done = short.ok("resume", "runs/small")
    assert facts(run) == before
    assert "Stop it" not in done.stderr
    assert done.stdout.count("kingyo export runs/small OUT") == 1
    assert short.data("resume", "runs/small") == short.show("runs/small")


def test_a_finished_run_of_an_older_version_gets_what_it_lacks(short: World) -> None:
    run = short.folder / "runs" / "small"
    with edited(run) as database:
        database.execute("DELETE FROM facts WHERE key = ?", (RACED,))
    done = short.ok("resume", "runs/small")
    assert "This run is finished" not in done.stderr
    with RunStore.read(run) as store:
        assert store.fact(RACED) and store.status() == "finished"


def test_a_grader_that_changed_in_mid_run_is_refused(world: World) -> None:
    run = world.folder / "runs" / "small"
    interrupted(world, "evolve", "run.yaml", after=5)
    before = facts(run)
    grader = world.folder / "grade.py"
    text = grader.read_text()
    grader.write_text(text.replace("% 2 == 0", "% 2 == 1"))
    for words in (
        ("resume", "runs/small"),
        ("export", "runs/small", "out", "--trial", "0"),
        ("evaluate", "a", "runs/small", "--split", "validation"),
    ):
        world.fails(*words, says="grade.py: expected what the run's scores were made with")
    assert facts(run) == before and not (world.folder / "out").exists()
    grader.write_text(text)
    world.ok("resume", "runs/small")


def change_stored_version(run: Path, library: str) -> None:
    """Let the run's scores be of another version of a library."""
    with edited(run) as connection:
        (text,) = connection.execute("SELECT value FROM facts WHERE key = 'versions'").fetchone()
        versions = json.dumps({**json.loads(text), library: "0.0.old"})
        connection.execute("UPDATE facts SET value = ? WHERE key = 'versions'", (versions,))


@pytest.mark.slow
def test_other_versions_are_refused_rescored_or_accepted(finished: World, world: World) -> None:
    run, expected = world.folder / "runs" / "small", facts(finished.folder / "runs" / "small")
    interrupted(world, "evolve", "run.yaml", after=8)
    change_stored_version(run, "transformers")
    before = facts(run)
    world.fails("resume", "runs/small", "--candidates", "+2", says="transformers 0.0.old")
    world.fails("resume", "runs/small", "--rescore", "--accept-changes", says="--rescore: expected one of")
    assert facts(run) == before
    done = world.ok("resume", "runs/small", "--rescore")
    assert "run-before-1.db" in done.stderr and (run / "run-before-1.db").is_file()
    assert facts(run) == expected
    (summary,) = world.show("runs/small")["rescored"]  # type: ignore[misc]
    assert list(summary["changes"]) == ["transformers"]

    change_stored_version(run, "torch")
    assert world.run("control", "runs/small", "random").returncode == 0, "it is done: nothing is scored"
    assert world.run("resume", "runs/small").returncode == 1
    assert "Note: Exported with torch " in world.ok("export", "runs/small", "mixed").stderr
    card = (world.folder / "mixed" / "README.md").read_text("utf-8")
    assert "; scored with torch 0.0.old." in card and "Exported with torch " in card
    assert "Note: Evaluated with torch " in world.ok("evaluate", "mixed", "runs/small").stderr
    done = world.ok("resume", "runs/small", "--accept-changes")
    says = "The scores of this run were made with different versions: torch 0.0.old, then"
    assert says in done.stderr and says in done.stdout.replace("\n", " ")
    world.ok("report", "runs/small")
    assert says in (run / "report.html").read_text("utf-8")
    world.ok("export", "runs/small", "out")
    assert says in (world.folder / "out" / "README.md").read_text("utf-8")
    assert "Nothing has changed" in world.ok("resume", "runs/small", "--accept-changes").stderr
    assert facts(run) == expected


def test_the_test_split_of_a_run_under_way_is_not_read_by_accident(world: World) -> None:
    interrupted(world, "evolve", "run.yaml", after=5)
    done = world.fails("evaluate", "a", "runs/small", "--json")
    assert "a finished run" in json.loads(done.stdout)["error"]["expected"]
    world.ok("evaluate", "a", "runs/small", "--split", "validation")
    assert world.run("show", "runs/small").stdout.splitlines()[-1] == "Next: `kingyo resume runs/small`"


def test_a_moved_project_resumes(world: World, tmp_path: Path) -> None:
    """The run folder, models and data go along to another place, and nothing is left in the old one."""
    config = world.config(budget={"candidates": 4})
    interrupted(world, "evolve", config, after=3)
    moved = World(folder=world.folder.rename(tmp_path / "elsewhere"))
    moved.ok("resume", "runs/small")
    assert moved.show("runs/small")["status"] == "finished"
    moved.ok("export", "runs/small", "out", "--search", "main")

"""More of a finished run, in real processes: `kingyo resume RUN --candidates +N` and `kingyo control`."""

import random
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import World, evaluations, interrupted
from tests.cli.resumed import facts
from tests.stores import edited, query

NO_CONTROLS = {"random": False, "grid": False}


def in_scores(run: Path, search: str) -> list[tuple[object, ...]]:
    """Return the scores and outcomes of all trials of a search, by number."""
    return query(
        run,
        "SELECT t.number, t.batch, t.genome, t.recipe_hash, s.item, s.score, s.answer, o.value"
        " FROM trials t JOIN scores s ON s.trial = t.id LEFT JOIN outcomes o ON o.trial = t.id"
        " WHERE t.search = ? ORDER BY t.number, s.item",
        search,
    )


def n_trials(run: Path) -> dict[str, int]:
    return dict(query(run, "SELECT search, COUNT(*) FROM trials GROUP BY search"))


def test_more_candidates_are_tried_and_all_that_follows(short: World) -> None:
    summary = short.data("resume", "runs/small", "--candidates", "+12")
    assert summary["trials"] == 18 and summary["status"] == "finished"
    assert [each["more"] for each in summary["extensions"]] == [{"candidates": 12}]
    assert summary["extensions"][0]["test_was_read"] is True
    assert "+12 candidates" in summary["test_note"]
    assert summary["test_readings"][0]["after"] == []
    assert len(summary["test_readings"]) == len({each["trial"] for each in summary["test_readings"]})
    counts = n_trials(short.folder / "runs" / "small")
    assert counts["random"] == counts["main"] == 18
    shown = short.run("show", "runs/small")
    assert "Test was read" in shown.stdout and "+12 candidates" in shown.stdout
    short.ok("report", "runs/small")
    page = (short.folder / "runs" / "small" / "report.html").read_text()
    assert "+12 candidates" in page and "Test was read" in page
    short.ok("export", "runs/small", "out")
    card = (short.folder / "out" / "README.md").read_text()
    assert "Test was read" in card and "then +12 candidates" in card


@pytest.mark.slow
def test_a_kill_in_an_extension_does_not_change_the_result(short: World) -> None:
    run = short.folder / "runs" / "small"
    expected_run = shutil.copytree(run, short.folder / "whole")
    short.ok("resume", expected_run, "--candidates", "+9")
    begun, total = evaluations(run), evaluations(expected_run)
    arguments: tuple[str, ...] = ("resume", "runs/small", "--candidates", "+9")
    for stop in sorted(random.Random(2).sample(range(begun + 1, total - 1), 4)):
        interrupted(short, *arguments, after=stop)
        arguments = ("resume", "runs/small")
    short.ok("resume", "runs/small")
    assert facts(run) == facts(expected_run)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("greater than 0", ("--candidates", "+0")),
        ("a whole number", ("--candidates", "+1.5")),
        ("+60", ("--minutes", "5")),
        ("which it does not limit", ("--minutes", "+5")),
        ("which it does not limit", ("--minutes", "+5", "--rescore")),
    ],
)
def test_wrong_amounts_are_one_error(finished: World, message: str, words: tuple[str, ...]) -> None:
    before = facts(finished.folder / "runs" / "small")
    done = finished.fails("resume", "runs/small", *words)
    assert done.stderr.startswith(f"Error: {words[0]}: expected") and message in done.stderr
    assert facts(finished.folder / "runs" / "small") == before


def test_an_exhausted_space_is_one_error_and_the_run_is_unchanged(world: World) -> None:
    search = {"strategy": "grid", "settings": {"points": 2}}
    config = world.config(budget={"candidates": 4}, search=search, controls=NO_CONTROLS)
    world.ok("evolve", config)
    before = facts(world.folder / "runs" / "small")
    world.fails("resume", "runs/small", "--candidates", "+3", says="none after 4 candidates")
    assert facts(world.folder / "runs" / "small") == before
    assert world.show("runs/small")["extensions"] == []


@pytest.mark.slow
def test_seeds_are_extended_one_by_one(world: World) -> None:
    config = world.config(budget={"candidates": 2}, controls=NO_CONTROLS)
    world.ok("evolve", config, "--run", "many", "--seeds", "2")
    for command in (("resume", "many", "--candidates", "+2"), ("control", "many", "random")):
        world.fails(*command, says="the runs of 2 seeds")
    world.ok("resume", "many/seed-1", "--candidates", "+2")
    shown = world.run("show", "many")
    assert "Seed 1 had +2 candidates" in shown.stdout


def test_a_control_that_cannot_start_leaves_the_run_finished(short: World) -> None:
    folder = short.folder / "runs" / "small"
    with edited(folder) as database:  # as if another kingyo had asked for them
        database.execute("UPDATE trials SET genome = '[0.123, 0.4]' WHERE search = 'main' AND number = 1")
    before = facts(folder)
    short.fails("control", "runs/small", "grid", says="received other genomes")
    assert facts(folder) == before
    assert short.show("runs/small")["status"] == "finished"


@pytest.mark.slow
def test_paths_after_weights_get_all_of_it(world: World) -> None:
    config = world.config(
        space="hybrid",
        merge={"parameters": {"weight": {"from": -1, "to": 2}}, "method": "task_arithmetic"},
        search={"strategy": "ga", "settings": {"population": 3}},
        budget={"candidates": 6},
        controls={"random": True, "grid": False},
    )
    world.ok("evolve", config)
    world.ok("resume", "runs/small", "--candidates", "+3")
    counts = n_trials(world.folder / "runs" / "small")
    assert (counts["parameters"], counts["main"], counts["random"]) == (3, 6, 9)


@pytest.mark.slow
def test_a_control_run_later_has_the_trials_that_it_would_have_had(world: World, finished: World) -> None:
    world.ok("evolve", world.config(controls=None))
    run, finished_run = world.folder / "runs" / "small", finished.folder / "runs" / "small"
    assert world.show("runs/small")["controls"] == {}
    assert world.show("runs/small")["controls_to_run"] == {
        name: f"kingyo control runs/small {name}" for name in ("random", "grid")
    }
    for name in ("random", "grid"):
        world.ok("control", "runs/small", name)
        assert in_scores(run, name) == in_scores(finished_run, name)
    mine, theirs = world.show("runs/small"), finished.show("runs/small")
    keys = ("winner", "controls", "comparisons", "baselines", "predicted", "controls_to_run", "test_note")
    assert {key: mine[key] for key in keys} == {key: theirs[key] for key in keys}
    before = facts(run)
    again = world.ok("control", "runs/small", "grid")
    assert "already done" in again.stderr
    assert facts(run) == before


@pytest.mark.slow
def test_a_killed_control_resumes(world: World) -> None:
    config = world.config(budget={"candidates": 6}, controls=NO_CONTROLS)
    world.ok("evolve", config)
    run = world.folder / "runs" / "small"
    expected_run = shutil.copytree(run, world.folder / "whole")
    world.ok("control", expected_run, "random")
    begun, total = evaluations(run), evaluations(expected_run)
    for stop in sorted(random.Random(3).sample(range(begun + 1, total - 1), 2)):
        interrupted(world, "control", "runs/small", "random", after=stop)
    assert world.run("control", "runs/small", "grid").returncode == 1, "one control at a time"
    world.ok("control", "runs/small", "random")
    assert facts(run) == facts(expected_run)


def test_invalid_controls_give_one_error(world: World) -> None:
    interrupted(world, "evolve", world.config(controls=NO_CONTROLS), after=6)
    for name, sentence in (("random", "kingyo resume runs/small"), ("gird", "Did you mean 'grid'?")):
        world.fails("control", "runs/small", name, says=sentence)
    config = world.config(
        space="dataflow", merge=None, search=None, budget={"candidates": 2}, controls=NO_CONTROLS
    )
    world.ok("evolve", config, "--run", "runs/paths")
    world.fails("control", "runs/paths", "grid", says="control grid: expected")
    assert world.show("runs/paths")["controls_to_run"] == {"random": "kingyo control runs/paths random"}

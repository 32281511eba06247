"""The command `tune`, in real processes: LoRAs on the bred model, and the same on the best parent."""

import json
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

import kingyo
from kingyo.core.io.extras import install_command
from tests.cli.conftest import World, evaluations, stopped
from tests.cli.forked import run_without
from tests.cli.training_runs import EASY, OFF, SPLITS, easy
from tests.stores import query

GRADERS = """
def right(answer, item):
    return 1.0

def half(answer, item):
    return 0.5

def other(answer, item):
    return float("7" not in answer)

def broken(answer, item):
    raise RuntimeError("no idea")
"""
"""`other` asks for what the easy task unlearns: its answer is always 7."""
BRED, TUNED, PARENT = "main", "tuned", "tuned_parent"
OTHER = {"data": "other.jsonl", "chat": False, "max_new_tokens": 3}


def tuned(run: Path) -> list[tuple[Any, ...]]:
    """Return what the tuning of a run stored: trials, and scores on all splits."""
    return query(
        run,
        "SELECT t.search, t.number, s.split, s.item, s.score, s.answer FROM trials t"
        " JOIN scores s ON s.trial = t.id WHERE t.search IN (?, ?) ORDER BY 1, 2, 3, 4",
        TUNED,
        PARENT,
    )


def digests(run: Path) -> list[list[str]]:
    facts = query(run, "SELECT value FROM facts WHERE key IN (?, ?) ORDER BY key", TUNED, PARENT)
    return [[each["digest"] for each in json.loads(value)["settings"]] for (value,) in facts]


def answered(run: Path, search: str) -> int:
    """Return how many answers of a search were not copied."""
    ((count,),) = query(
        run,
        "SELECT COALESCE(SUM(p.n_items), 0) FROM parts p JOIN trials t ON t.id = p.trial"
        " WHERE t.search = ? AND t.number = 0 AND COALESCE(p.copied_from, p.trial) = p.trial",
        search,
    )
    return count


@pytest.fixture(scope="module")
def bred(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world whose `runs/small` is bred, and easy to learn; tests copy it."""
    world = World(folder=Path(shutil.copytree(origin, tmp_path_factory.mktemp("bred") / "world")))
    (world.folder / "graders.py").write_text(GRADERS)
    rows = [{"prompt": f"{n} + {n} =", "answer": "7"} for n in range(50, 90)]
    (world.folder / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    world.ok("evolve", easy(world, controls=OFF))
    return world


@pytest.fixture
def copied(bred: World, tmp_path: Path) -> World:
    return World(folder=Path(shutil.copytree(bred.folder, tmp_path / "world")))


@pytest.fixture(scope="module")
def done(bred: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world whose `runs/small` is tuned; tests only read it."""
    world = World(folder=Path(shutil.copytree(bred.folder, tmp_path_factory.mktemp("tuned") / "world")))
    kingyo.tune(world.folder / "runs" / "small")
    return world


def test_it_shows_bred_tuned_and_the_same_training_on_the_best_parent(done: World) -> None:
    tuning: Any = done.show("runs/small")["tuning"]
    one, other = tuning["tuned"], tuning["tuned_parent"]
    assert [one["parent"], other["parent"]] == [f"the bred model (trial {winner(done)})", "base"]
    assert one["items"] == 16 and one["steps"] >= 10
    for key in ("steps", "examples", "items"):
        assert one[key] == other[key]
    rates = [[each["learning_rate"] for each in own["settings"]] for own in (one, other)]
    assert rates[0] == rates[1] and len(rates[0]) == 2
    assert {"bred", PARENT} == tuning["comparisons"].keys()
    assert all(each["n"] == 12 for each in tuning["comparisons"].values())
    again = done.ok("tune", "runs/small")
    assert "already tuned" in again.stderr
    text = " ".join(again.stdout.split())
    assert "tuned − bred: +" in text and "n = 12" in text and "kingyo export runs/small OUT" in text
    assert "tuned − bred" in done.run("show", "runs/small").stdout


def winner(world: World) -> int:
    shown: Any = world.show("runs/small")["winner"]
    return shown["trial"]


def test_validation_alone_chooses_and_test_is_read_for_the_choice(done: World) -> None:
    scores: dict[tuple[str, int], list[float]] = {}
    tested: set[tuple[str, int]] = set()
    for search, number, split, _, score, _ in tuned(done.folder / "runs" / "small"):
        if split == "validation":
            scores.setdefault((search, number), []).append(score)
        if split == "test":
            tested.add((search, number))
    for search in (TUNED, PARENT):
        means = {key: sum(own) / len(own) for key, own in scores.items() if key[0] == search}
        assert len(means) == 3 and {each for each in tested if each[0] == search} == {
            max(means, key=lambda key: (means[key], -key[1]))
        }
    chosen: Any = done.show("runs/small")["tuning"]
    assert chosen["chosen"][TUNED] > 0, "training helps where all answers are 7"


def test_the_bred_model_is_not_scored_again(done: World) -> None:
    assert answered(done.folder / "runs" / "small", TUNED) == 0
    assert answered(done.folder / "runs" / "small", BRED) > 0


def test_adapter_and_merged_folder_are_exported(done: World, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done.ok("export", "runs/small", out, "--search", "tuned")
    card = (out / "README.md").read_text()
    assert "Then a LoRA was trained on the fit items" in card and "this model minus it" in card
    assert "the bred model" in card and "tuned parent" in card
    AutoModelForCausalLM.from_pretrained(out)
    scored = done.run("evaluate", out, out / "task.yaml", "--split", "test", "--json")
    controls: Any = done.show("runs/small")["controls"]
    assert json.loads(scored.stdout)["score"] == pytest.approx(controls[TUNED]["test"]["score"])
    assert str(done.folder) not in (out / "adapter" / "adapter_config.json").read_text()
    done.ok("merge", out / "bred.yaml", tmp_path / "merged")
    same = done.run("evaluate", f"{tmp_path / 'merged'}+{out / 'adapter'}", out / "task.yaml", "--json")
    assert json.loads(same.stdout)["score"] == pytest.approx(json.loads(scored.stdout)["score"])


def test_a_tuning_in_the_run_yaml_is_the_same(done: World, copied: World) -> None:
    shutil.rmtree(copied.folder / "runs")
    copied.ok("evolve", easy(copied, controls=OFF, tune=True))
    assert tuned(done.folder / "runs" / "small") == tuned(copied.folder / "runs" / "small")


def test_the_bred_model_wins_a_tie(world: World) -> None:
    (world.folder / "graders.py").write_text(GRADERS)
    sizes = {"fit": 4, "validation": 4, "test": 4}
    task = {**EASY, "grader": "graders.py:right", "splits": sizes}
    config = easy(world, task=task, controls=OFF, tune=True, budget={"candidates": 2})
    world.ok("evolve", config)
    shown: Any = world.show("runs/small")
    assert shown["tuning"]["chosen"] == {TUNED: 0, PARENT: 0}
    assert shown["tuning"]["comparisons"] == {}
    assert not {TUNED, PARENT} & shown["controls"].keys(), "both are listed already, as bred and parent"
    text = " ".join(world.run("tune", "runs/small").stdout.split())
    assert "without training: no LoRA was ahead of it" in text
    exported = world.ok("export", "runs/small", "out", "--search", "tuned")
    assert "of the main search" in exported.stdout
    assert not (world.folder / "out" / "adapter").exists()


@pytest.mark.parametrize(
    ("limit", "is_refused"), [(2, True), pytest.param(100, False, marks=pytest.mark.slow)]
)
def test_a_model_that_loses_other_abilities_is_refused(copied: World, limit: int, is_refused: bool) -> None:
    (copied.folder / "other.yaml").write_text(json.dumps({**OTHER, "grader": "graders.py:other"}))
    finished = copied.ok("tune", "runs/small", "--keep", "other.yaml", "--limit", str(limit))
    tuning: Any = copied.show("runs/small")["tuning"]
    kept, settings = tuning["kept"], tuning["tuned"]["settings"]
    assert kept["limit"] == limit and kept["n"] == 40 and len(kept["tuned"]) == 2
    assert (tuning["chosen"][TUNED] == 0) == is_refused
    assert (
        all("other.yaml (n = 40), and at most 2" in str(each["failure"]) for each in settings) == is_refused
    )
    for each in kept["tuned"]:
        lost = each["difference"]
        assert each["score"] - kept["bred"] == pytest.approx(lost["score"]) and lost["high"] < 0
    text = " ".join(finished.stdout.split())
    assert "other.yaml (n = 40): bred" in text
    assert ("stays without training" in text) == is_refused and "no LoRA was ahead" not in text
    copied.fails("tune", "runs/small", "--keep", "other.jsonl", says="other.yaml")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--limit", "3"), "keep beside limit"),
        (("--keep", "empty.jsonl"), "tune.keep: data: "),
        (("--keep", "items.jsonl"), "items.jsonl, with 24 items of them"),
    ],
)
def test_wrong_options_are_one_error(bred: World, arguments: tuple[str, ...], named: str) -> None:
    (bred.folder / "empty.jsonl").touch()
    bred.fails("tune", "runs/small", *arguments, says=named)
    assert bred.show("runs/small")["status"] == "finished"


@pytest.mark.parametrize("arguments", [("tune", "runs/small", "--keep"), ("evolve", "easy.yaml")])
def test_items_to_keep_that_no_model_can_read_are_one_error_before_the_training(
    copied: World, arguments: tuple[str, ...]
) -> None:
    (copied.folder / "long.jsonl").write_text(json.dumps({"prompt": "1 " * 99, "answer": "7"}) + "\n")
    easy(copied, controls=OFF, tune={"keep": "long.jsonl"}).rename(copied.folder / "easy.yaml")
    named = ("long.jsonl",) if arguments[0] == "tune" else ("--run", "new")
    failed = copied.fails(*arguments, *named)
    assert "the model's context" in failed.stderr
    assert "Tuning on fit" not in failed.stderr and not (copied.folder / "new").exists()
    assert copied.show("runs/small")["status"] == "finished"


def test_a_grader_of_items_to_keep_that_fails_costs_no_training(copied: World) -> None:
    (copied.folder / "other.yaml").write_text(json.dumps({**OTHER, "grader": "graders.py:broken"}))
    copied.fails("tune", "runs/small", "--keep", "other.yaml", says="no idea")
    assert not (copied.folder / "runs" / "small" / "tuned" / "1").exists()


def test_without_its_extra_the_command_that_installs_it_is_named(bred: World) -> None:
    failed = run_without(["peft"], bred.folder, "tune", "runs/small")
    assert failed.returncode == 1 and install_command("lora") in failed.stderr


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"space": "dataflow", "merge": None, "search": None}, "space: dataflow"),
        ({"objectives": ["easy", "closeness"], "search": None}, "closeness"),
    ],
)
def test_untunable_settings_are_one_error_before_the_run(
    world: World, changes: Mapping[str, object], named: str
) -> None:
    failed = world.fails("evolve", easy(world, **{"controls": OFF, "tune": True, **changes}))
    assert "tune" in failed.stderr and named in failed.stderr
    assert not (world.folder / "runs" / "small").exists()


def test_a_run_without_right_answers_is_one_error(world: World) -> None:
    (world.folder / "graders.py").write_text(GRADERS)
    task = {**EASY, "grader": "graders.py:half", "splits": SPLITS}
    config = easy(world, task=task, controls=OFF, budget={"candidates": 2})
    world.ok("evolve", config)
    world.fails("tune", "runs/small", says="right answers to learn from")
    assert world.show("runs/small")["status"] == "finished"


@pytest.mark.slow
def test_a_tuning_that_is_killed_anywhere_ends_with_the_same_model(done: World, copied: World) -> None:
    run = copied.folder / "runs" / "small"
    before = evaluations(run)
    moments: list[Callable[[], bool]] = [
        (run / "tuned").exists,
        (run / "tuned" / "bred" / "config.json").exists,
        (run / "tuned" / "1").exists,
        (run / "tuned" / "2").exists,
        lambda: evaluations(run) > before + 1,
        (run / "tuned_parent" / "1").exists,
        lambda: evaluations(run) > before + 6,
    ]
    for moment in moments:
        assert stopped(copied.folder, "tune", "runs/small", when=moment)[0] == -signal.SIGKILL
    copied.ok("tune", "runs/small")
    runs = [done.folder / "runs" / "small", run]
    assert digests(runs[0]) == digests(runs[1])
    assert tuned(runs[0]) == tuned(runs[1])
    assert evaluations(runs[0]) == evaluations(runs[1]), "nothing was scored twice"


@pytest.mark.slow
def test_more_candidates_later_leave_the_tuned_model_as_it_is(copied: World) -> None:
    copied.ok("tune", "runs/small")
    run = copied.folder / "runs" / "small"
    before, known = tuned(run), digests(run)
    copied.ok("resume", "runs/small", "--candidates", "+6")
    assert digests(run) == known and [row for row in tuned(run) if row[2] == "validation"] == [
        row for row in before if row[2] == "validation"
    ]


@pytest.mark.slow
def test_a_tuning_in_another_process_writes_the_same_bytes(done: World, copied: World) -> None:
    copied.ok("tune", "runs/small", env={"PYTHONHASHSEED": "7"}, fresh=True)
    assert digests(done.folder / "runs" / "small") == digests(copied.folder / "runs" / "small")


def test_a_changed_bred_model_is_one_error(done: World, tmp_path: Path) -> None:
    world = World(folder=Path(shutil.copytree(done.folder, tmp_path / "world")))
    config = world.folder / "runs" / "small" / "tuned" / "bred" / "config.json"
    config.write_text(config.read_text() + " ")
    world.fails("export", "runs/small", "out", "--search", "tuned", says="the bred model that the run wrote")

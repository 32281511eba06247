"""`kingyo evolve --dry-run`: the plan of a run as text and JSON; no file is written."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from kingyo.core.types import SPLITS
from kingyo.runs.begin import begin
from kingyo.runs.config_file import load_config
from kingyo.runs.cost import remaining_cost
from kingyo.runs.dry_run import dry_run
from kingyo.runs.extensions import extend
from kingyo.runs.resume import add_control, journey_of
from kingyo.runs.run import Run
from kingyo.search.evolution import MAIN, ignore_events
from kingyo.store import RunStore
from kingyo.views.run_progress import PartProgress, RunProgress
from tests.cli.conftest import World
from tests.cli.merging import Command, everything


def dry_run_json(command: Command, config: Path | str = "run.yaml") -> dict[str, dict[str, object]]:
    done = command("evolve", config, "--dry-run", "--json")
    assert done.code == 0, done.out + done.err
    summary = json.loads(done.out)
    return {**summary, "notes": without_few(summary["notes"])}


def without_few(notes: list[str]) -> list[str]:
    """Leave out the note on splits with few items, which all runs of these tests have."""
    return [note for note in notes if "hard to tell apart" not in note]


def test_the_plan_is_printed(command: Command) -> None:
    before = everything(command.folder)
    done = command("evolve", "run.yaml", "--dry-run")
    assert done.code == 0, done.err
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert lines[0] == "small"
    assert any(line.startswith("a a 9.07 k float32 36.3 kB") for line in lines), done.out
    assert "items: 16 fit, 12 validation, 12 test; 0 duplicates dropped" in lines
    assert "search: 24 candidates by ga, 6 at a time, population 6" in lines
    assert "each candidate is scored on all 16 items of fit" in lines
    assert "2 genes: weight/a, weight/b" in lines
    assert any(line.startswith("search 24 16 384 ") for line in lines)
    assert any(line.startswith("validation 13 12 156 ") for line in lines), (
        "three finalists of each of three searches, and four baselines"
    )
    assert any(line.startswith("total 96 1,456 ") for line in lines)
    assert any(re.match(r"time: .+ \(a merge takes [\d.e-]+ s, an item ", line) for line in lines)
    assert len(lines) < 40, done.out
    assert lines[-1].startswith("All fits together. Nothing was written.")
    assert everything(command.folder) == before


def test_a_missing_device_is_a_note_not_an_error(command: Command, world: World) -> None:
    done = command("evolve", world.config(device="cuda:99"), "--dry-run")
    assert done.code == 0, done.err
    words = " ".join(done.out.split())
    assert "time: not measured: device: expected a device of this machine" in words
    assert "cuda:99" in str(dry_run_json(command, world.config(device="cuda:99"))["missing_device"])
    assert dry_run_json(command)["missing_device"] is None


def test_as_data(command: Command) -> None:
    summary = dry_run_json(command)
    assert summary["items"] == {"fit": 16, "validation": 12, "test": 12, "duplicates": 0, "unused": 0}
    answers = summary["answers"]
    # base, a, b and uniform; main, random, and a grid of 25 points; then their finalists and winners
    assert answers["at_most"] == 16 * (4 + 24 + 24 + 24) + 12 * (4 + 3 * 3) + 12 * (4 + 3)
    memory = summary["memory"]
    assert memory["live_bytes"] == 9072 * 4 and memory["to_download_bytes"] == {}
    # keys and values of 3 layers, 2 heads of 4, in 40 rows of the longest prompt and 6 new tokens
    assert memory["longest_prompt_tokens"] == 4
    assert memory["cache_bytes"] == 2 * 3 * 2 * 4 * 4 * 40 * (4 + 6)
    assert summary["first_recipe"]["models"] == [
        {"model": name, "parameters": {"weight": 0.5}} for name in ("a", "b")
    ]


def test_the_dry_run_counts_each_part_like_the_run(command: Command, world: World) -> None:
    search = {"strategy": "random", "reuse": False, "screen": {"items": 5}}
    config = world.config(search=search, budget={"candidates": 5})
    summary = dry_run_json(command, config)["answers"]
    assert command("evolve", config).code == 0
    with RunStore.read(world.folder / "runs" / "small") as store:
        names = [*store.searches()]
        scored = {
            (name, split): (len(costs), sum(items for items, _ in costs.values()))
            for name in names
            for split in SPLITS
            for costs in [store.costs(name, split)]
        }
    parts = {(part["name"], part["split"]): (part["models"], part["answers"]) for part in summary["parts"]}  # type: ignore[attr-defined]
    assert scored == parts
    assert sum(answers for _, answers in parts.values()) == summary["at_most"]


def test_a_run_expects_the_cost_of_its_dry_run(world: World) -> None:
    hybrid = {"space": "hybrid", "dataflow": {"max_hops": 4}, "search": None}
    for changes in ({}, hybrid, {"budget": {"minutes": 3}}):
        config, run = (
            load_config(world.config(**changes)),
            world.folder / f"run-{len(changes)}-{'budget' in changes}",
        )
        with begin(Run.open(config, world.folder), run) as begun:
            assert (
                remaining_cost(journey_of(begun, ignore_events))
                == dry_run(Run.open(config, world.folder)).cost
            )


@pytest.mark.parametrize("budget", [{"candidates": 4}, {"item_evaluations": 64, "candidates": 50}])
def test_the_remaining_cost_excludes_stored_scores(world: World, budget: dict[str, int]) -> None:
    config = world.config(budget=budget, controls={"random": False, "grid": False}, finalists=2)
    world.ok("evolve", config)
    with RunStore.open(world.folder / "runs" / "small") as store:

        def progress() -> RunProgress:
            return RunProgress(remaining_cost(journey_of(Run.stored(store), ignore_events)))

        def unfinished() -> list[PartProgress]:
            parts = [part for row in progress().rows().values() for part in row]
            return [part for part in parts if part.answers_left]

        assert unfinished() == []
        add_control(store, "random")
        assert [each.part.name for each in unfinished()] == ["random"] * 3
        store.reopen({"status": "finished", "controls": []}, {})
        extend(store, {"candidates": 60} if len(budget) == 1 else {"item_evaluations": 160})
        left = {
            each.part.split: (each.models or 0) - len(each.scored)
            for each in unfinished()
            if each.part.name == MAIN
        }
        assert left == {"fit": 60 if len(budget) == 1 else 10, "validation": 2, "test": 1}


def test_sources_that_are_the_same_model_are_noted(command: Command, world: World) -> None:
    """Also under another name, by a link, and, once weights are hashed, as a copy."""
    (world.folder / "link").symlink_to("a")
    shutil.copytree(world.folder / "b", world.folder / "copy")
    same = "sources a and again are the same model. Delete all but one of them"
    copied = same.replace("a and again", "b and copy")
    assert "same model" not in " ".join(dry_run_json(command)["notes"])
    for again in ("a", "./a", "link"):
        config = world.config(sources={"a": "a", "again": again, "b": "b"})
        assert dry_run_json(command, config)["notes"] == [same]
    done = command("evolve", config, "--dry-run")
    assert f"note: {same}" in " ".join(done.out.split())
    config = load_config(world.config(sources={"b": "b", "copy": "copy"}))
    with begin(Run.open(config, world.folder), world.folder / "r"):
        notes = without_few(world.show("r")["notes"])
    assert notes == [copied]
    words = ("--base", "base", "--source", "a", "--source", "again=link", "--task", "items.jsonl")
    done = command("init", "new.yaml", *words, "--grader", "grade.py:even")
    assert done.code == 0 and f"note: {same}" in done.out


def test_a_source_equal_to_the_base_is_noted_for_relative_methods(command: Command, world: World) -> None:
    note = "source it is the base itself, which adds nothing to a merge. Delete it"
    assert dry_run_json(command, world.config(sources={"a": "a", "it": "./base"}))["notes"] == [note]
    linear = {"method": "linear", "parameters": {"weight": {"from": 0, "to": 1}}}
    assert dry_run_json(command, world.config(sources={"a": "a", "it": "base"}, merge=linear))["notes"] == []


def test_all_but_the_speed_is_known_without_torch(command: Command) -> None:
    code = (
        "import sys; from pathlib import Path; from kingyo.runs.dry_run import dry_run\n"
        "from kingyo.runs.config_file import load_config; from kingyo.runs.run import Run\n"
        "dry_run(Run.open(load_config(Path('run.yaml')), Path(), fetch=False))\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=command.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


def test_time_decides(command: Command, world: World) -> None:
    summary = dry_run_json(command, world.config(budget={"minutes": 3}))
    assert summary["answers"]["at_most"] is None
    searched = next(part for part in summary["answers"]["parts"] if part["stage"] == "search")
    assert (searched["answers"], searched["seconds"]) == (None, 180.0)
    output = command("evolve", "changed.yaml", "--dry-run").out
    assert "search ? 16 ? 3 min" in " ".join(output.split()) and "time: about" in output
    assert summary["seconds"] > 2 * 180, "the search and the random one; the grid has few points"  # type: ignore[operator]


def test_a_budget_of_item_evaluations_alone_buys_more_candidates_on_fewer_items(
    command: Command, world: World
) -> None:
    """With 16 fit items; the default is up to 32."""
    for budget, items in (({"item_evaluations": 96}, 12), ({"item_evaluations": 96, "minutes": 1}, 16)):
        parts = dry_run_json(command, world.config(budget=budget, search={}))["answers"]["parts"]
        assert next(p["items"] for p in parts if p["name"] == "main" and p["split"] == "fit") == items


def widen(folder: Path, rows: int) -> None:
    """Give a model more rows than it has tokens."""
    weights = load_file(folder / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        old = weights[name]
        weights[name] = old.new_zeros(rows, *old.shape[1:])
        weights[name][: len(old)] = old
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": rows}))


def test_differing_vocabularies_suggest_a_key(command: Command, world: World) -> None:
    widen(world.folder / "b", 72)
    done = command("evolve", "run.yaml", "--dry-run")
    assert done.code == 1 and "resize: pad-vocab or truncate or base" in done.err
    both = {"resize": "base", "tokenizer_source": "base", "tokenizer": {"source": "base"}}
    done = command("evolve", world.config(merge=both), "--dry-run")
    assert done.code == 1 and "one of tokenizer_source and tokenizer" in done.err


def test_a_run_of_models_with_different_vocabularies(command: Command, world: World) -> None:
    widen(world.folder / "b", 72)
    merge = {"method": "task_arithmetic", "tokenizer": {"source": "base", "pad_to_multiple_of": 48}}
    config = world.config(merge=merge, budget={"candidates": 4}, controls={"random": False, "grid": False})
    assert dry_run_json(command, config)["first_recipe"]["tokenizer"] == merge["tokenizer"]
    done = command("evolve", config)
    assert done.code == 0, done.err
    assert not list((world.folder / "runs" / "small").glob("live-*"))
    done = command("export", "runs/small", "bred", "--search", "main")
    assert done.code == 0, done.err
    weights = load_file(world.folder / "bred" / "model.safetensors")
    assert weights["model.embed_tokens.weight"].shape == (96, 16)

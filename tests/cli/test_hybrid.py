"""Weights and paths, in turn or at once, from a run.yaml to an exported model."""

import gc
import json

import pytest
from transformers import LlamaForCausalLM

from kingyo.merging.engine import rooted
from kingyo.merging.recipe import Recipe, load_recipe
from kingyo.runs.begin import begin
from kingyo.runs.config_file import load_config
from kingyo.runs.run import Run
from kingyo.runs.worker import evaluator_of
from kingyo.search.evolution import Objectives
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.store import RunStore
from tests.cli.conftest import World, interrupted

HYBRID = {
    "space": "hybrid",
    "dataflow": {"repetitions": 2, "scales": "layer", "max_hops": 5},
    "merge": {
        "method": "task_arithmetic",
        "parameters": {"weight": {"from": 0, "to": 1}},
        "dtype": "float32",
    },
    "search": {"strategy": "ga", "settings": {"population": 4}},
    "hybrid": {"search": {"strategy": "ga", "settings": {"population": 4}}},
    "base": "base",
    "budget": {"candidates": 16},
}


def test_paths_through_the_best_merge_run_resume_report_and_export(world: World) -> None:
    config = world.config(**HYBRID)
    interrupted(world, "evolve", config, after=20)
    shown = world.data("resume", "runs/small")
    assert next(iter(shown["controls"])) == "parameters"
    assert "frankenmerge" in shown["baselines"]
    uninterrupted = world.ok("evolve", config, "--run", "runs/whole", "--json")
    assert json.loads(uninterrupted.stdout)["winner"] == shown["winner"]
    assert json.loads(uninterrupted.stdout)["best"] == shown["best"]
    world.ok("report", "runs/small")
    report = (world.folder / "runs" / "small" / "report.html").read_text()
    assert "weights alone" in report
    assert "parameters search" not in report
    number = str(shown["winner"]["trial"])
    world.ok("export", "runs/small", "out", "--search", "main")
    assert "A path through " in (world.folder / "out" / "README.md").read_text()
    done = world.run("evaluate", "out", "runs/small", "--json")
    assert json.loads(done.stdout)["score"] == pytest.approx(shown["winner"]["test"]["score"])
    (world.folder / "said.yaml").write_text(world.run("recipe", "runs/small", "--trial", number).stdout)
    world.ok("merge", "said.yaml", "said")
    same(world, "out", "said", ("model.safetensors", "config.json"))


def test_the_merge_itself_is_among_the_finalists(world: World) -> None:
    shown = world.data("evolve", world.config(**HYBRID, finalists=1))
    merge, winner = shown["controls"]["parameters"], shown["winner"]
    assert winner["validation"]["score"] >= merge["validation"]["score"]
    with RunStore.read(world.folder / "runs" / "small") as store:
        winners = [store.winner(name) for name in ("parameters", "main")]
        (before, after) = (store.evaluation(each.id, "validation") for each in winners if each is not None)
        assert before is not None and after is not None
        is_ahead = Scorer(Objectives(), store.items()["validation"]).is_ahead(after, before)
    hops = [(step["model"], step["layer"]) for step in winner["path"]["hops"]]
    assert is_ahead != (hops == [("merged", layer) for layer in range(len(hops))])
    output = world.run("show", "runs/small").stdout
    alike = "bred answers all 12 items of test as weights alone does"
    assert (
        alike if hops == [("merged", layer) for layer in range(len(hops))] else "bred − weights alone:"
    ) in output
    assert "bred − parameters" not in output


def same(world: World, one: str, other: str, names: tuple[str, ...]) -> None:
    for name in names:
        assert (world.folder / one / name).read_bytes() == (world.folder / other / name).read_bytes(), name


@pytest.mark.slow
def test_the_export_of_a_path_through_a_merge_matches_its_trials_score(world: World) -> None:
    paths = {"repetitions": 2, "scales": "layer", "seeds": False}
    changed = {"dataflow": paths, "controls": {"random": False, "grid": False}, "hybrid": {"joint": True}}
    world.ok("evolve", world.config(**{**HYBRID, **changed}))
    with RunStore.read(world.folder / "runs" / "small") as store:
        trial = next(each for each in store.trials("main") if repeats_a_merged_layer(read_recipe(each)))
        scored = store.evaluation(trial.id, "fit")
    number = str(trial.asked.number)
    done = world.ok("recipe", "runs/small", "--trial", number)
    (world.folder / "said.yaml").write_text(done.stdout)
    world.ok("export", "runs/small", "out", "--trial", number)
    out = world.folder / "out"
    assert rooted(load_recipe(out / "recipe.yaml"), out) == load_recipe(world.folder / "said.yaml")
    world.ok("merge", "said.yaml", "again")
    same(world, "out", "again", ("model.safetensors", "config.json"))
    assert scored is not None
    expected = sum(each.score for each in scored.scores) / len(scored.scores)
    done = world.run("evaluate", "out", "out/task.yaml", "--split", "fit", "--json")
    assert json.loads(done.stdout)["score"] == pytest.approx(expected), done.stderr


def repeats_a_merged_layer(recipe: Recipe) -> bool:
    """Whether a recipe passes a layer of its merge twice, and scales any."""
    passed = [hop.layer for hop in recipe.path if hop.model == "merged"]
    return len(set(passed)) < len(passed) and any(hop.scale != 1 for hop in recipe.path)


def test_both_are_searched_at_once(world: World) -> None:
    config = world.config(**{**HYBRID, "hybrid": {"joint": True}})
    shown = world.data("evolve", config)
    assert "parameters" not in shown["controls"]
    assert {"random", "grid"} <= set(shown["controls"])
    world.ok("export", "runs/small", "out", "--search", "main")
    done = world.run("evaluate", "out", "runs/small", "--json")
    assert json.loads(done.stdout)["score"] == pytest.approx(shown["winner"]["test"]["score"])


@pytest.mark.slow
def test_the_presets_of_the_paper_run(world: World) -> None:
    plain = {"base": "base", "budget": {"candidates": 6}, "controls": {"random": False, "grid": False}}
    for space, name in (("dataflow", "sakana-dfs"), ("hybrid", "sakana-hybrid")):
        config = world.config(
            **plain, name=name, space=space, search={"preset": name}, merge={"dtype": "float32"}
        )
        world.ok("evolve", config, "--run", f"runs/{name}")


def test_the_dry_run_counts_live_models(world: World) -> None:
    config = world.config(**{**HYBRID, "dataflow": {"frame": "merged"}})
    foreseen = world.data("evolve", config, "--dry-run")["memory"]
    before = n_live_models()
    with begin(Run.open(load_config(config), world.folder), world.folder / "runs" / "small") as run:
        evaluator = evaluator_of(run)
        assert n_live_models() - before == foreseen["live_models"] == 3, "both sources, and the merge"
        del evaluator


def n_live_models() -> int:
    gc.collect()
    return sum(type(each) is LlamaForCausalLM for each in gc.get_objects())


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"hybrid": {"share": 1}}, "share"),
        ({"budget": {"item_evaluations": 20}}, "received 10 for the search 'parameters'"),
        ({"objectives": ["even", "few_hops"]}, "tasks as objectives beside space: hybrid, not few_hops"),
        ({"merge": {"resize": "base"}}, "groups, parameters, sources with space: hybrid; received resize"),
        ({"dataflow": {"frame": "zz"}}, "one of a, b, merged as dataflow.frame"),
    ],
)
def test_mistakes_are_named(world: World, changed: dict[str, object], says: str) -> None:
    done = world.fails("evolve", world.config(**{**HYBRID, **changed}))
    assert says in " ".join(done.stderr.split())
    assert not (world.folder / "runs").exists()

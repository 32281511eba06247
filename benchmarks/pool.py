"""Compare the sources that `kingyo scout` chooses from zoo/pool with other choices.

    python benchmarks/pool.py --work DIR --seeds 0 1 2 3 4 --parts scout known

Each seed splits the items anew. Choices are searched in the same way: the run.yaml of the scout with other
sources; `all` has one weight per source; `soup` and `switches` search otherwise, at the cost of scout and
search. Parts:

    scout     the scout's choice and its run, with the controls random, grid, random_sources and trained
    known     the useful sources, known from how the pool was built
    sizes     the first 1, 2, … sources that the scout added
    all       all candidates that can be merged
    score     as many as the scout chose, the best by their own score on fit
    gates     as many, those with the largest weights that are learned by gradient at the scout's cost
    kinship   as many, the most distant by the cosine of task vectors, from the best one on
    soup      a greedy soup (Wortsman et al. 2022) within the answers of scout and search together
    switches  choose_sources on all candidates, within the answers of scout and search together

Finished runs are read, stopped runs are resumed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from gates import GateLearner
from seeds import kingyo, percent, points, print_row, size

from kingyo.runs.choice import answers_alone
from kingyo.runs.config_file import config_from_data
from kingyo.runs.run import Run
from kingyo.scout.for_task import names_of
from kingyo.stats import Groups, paired_difference
from kingyo.store import RunStore

POOL = Path(__file__).parent.parent / "zoo" / "pool"
TASK = Path(__file__).parent.parent / "examples" / "pool" / "task.yaml"
USEFUL = ("manner", "carry", "borrow", "times", "half", "twice", "fewer", "before")
BUDGET = 8_400
"""Most answers of a choice: a tenth of those of all 20 candidates and their pairs on all 400 fit items."""
Config = dict[str, Any]


def main() -> None:
    """Run the parts of each seed, and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="where scouts and runs are or go")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    columns = ("seed", "part", "sources", "answers", "test in %", "n", "scout's child − this one")
    print_row(columns)
    print_row(["---"] * len(columns))
    for seed in arguments.seeds:
        folder = arguments.work.resolve() / f"seed-{seed}"
        chosen = scout(folder, seed)
        for part in arguments.parts:
            for name, config in PARTS[part](folder, chosen):
                show(seed, name, folder, config, chosen)


def scout(folder: Path, seed: int) -> Mapping[str, Any]:
    """Choose sources for the items of a seed; return the output of ``kingyo scout --json``."""
    folder.mkdir(parents=True, exist_ok=True)
    task = yaml.safe_load(TASK.read_text(encoding="utf-8"))
    task["data"] = str((TASK.parent / task["data"]).resolve())
    task["splits"]["seed"] = seed
    (folder / "task.yaml").write_text(yaml.safe_dump(task, allow_unicode=True), encoding="utf-8")
    command = ("scout", str(POOL), "--task", str(folder / "task.yaml"), "--out", str(folder / "scout"))
    options = ("--seed", str(seed), "--item-evaluations", str(BUDGET), "--json")
    return json.loads(kingyo(*command, *options))["choice"]


def show(seed: int, name: str, folder: Path, config: Config, chosen: Mapping[str, Any]) -> None:
    """Run a config, and print its row; rows of its controls follow if it is the scout's."""
    run = folder / name
    if not run.exists():
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
        kingyo("evolve", str(path), "--run", str(run), "--json")
    shown = json.loads(kingyo("resume", str(run), "--json"))
    models = {name: shown["winner"]}
    if name == "scout-run":
        models |= {**shown["baselines"], **shown["controls"]}
    answers = chosen["item_evaluations"] * (name == "scout-run") + fit_answers(run)
    for title, scores in models.items():
        if scores["test"] is not None:
            cells = [str(seed), title, ", ".join(config["sources"]), f"{answers:,}", percent(scores["test"])]
            print_row([*cells, size(scores["test"]), difference(folder, run, title, name, shown)])


def fit_answers(run: Path) -> int:
    """Return the answers of the main search on fit."""
    with RunStore.read(run) as store:
        return sum(items for items, _ in store.costs("main", "fit").values())


def difference(folder: Path, run: Path, title: str, name: str, shown: Mapping[str, Any]) -> str:
    """Return the paired difference on test between the scout's child and a model."""
    if name == "scout-run":
        return points(shown["comparisons"][title]) if title in shown["comparisons"] else "–"
    (ours, labels), (theirs, _) = (test_scores(each) for each in (folder / "scout-run", run))
    shared = sorted(ours.keys() & theirs.keys())
    pair = ([ours[item] for item in shared], [theirs[item] for item in shared])
    groups = Groups.of(labels.get(item, "") for item in shared)
    found = paired_difference([pair], groups=[groups]).interval
    return points({"score": found.score, "low": found.low, "high": found.high})


def test_scores(run: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Return the test scores of the bred model, item -> score, and which items belong together."""
    with RunStore.read(run) as store:
        winner = store.winner("main")
        assert winner is not None, f"{run} is finished"
        return store.scores_of(winner.id, "test"), store.groups()


def of_scout(folder: Path) -> Config:
    """Return the settings of the scout's run with absolute paths."""
    with RunStore.read(folder / "scout") as store:
        config = cast("Config", store.fact("config"))
    config["base"] = str(Path(config["base"]).resolve())
    config["sources"] = sources_of(config, config["sources"])
    config["controls"]["random_sources"] = sources_of(config, config["controls"]["random_sources"])
    config["task"] = {"file": str(folder / "task.yaml")}
    return config


def sources_of(config: Config, names: Iterable[str]) -> dict[str, str]:
    """Return LoRAs of the pool by name. A reserved name, such as that of a control, ends in -1."""
    paths = {name: POOL.resolve() / name for name in names}
    found = {
        name: path if path.exists() else path.with_name(name.removesuffix("-1"))
        for name, path in paths.items()
    }
    return {name: f"{config['base']}+{path}" for name, path in found.items()}


def with_sources(folder: Path, names: Sequence[str]) -> Config:
    """Return the scout's run.yaml with other sources, as many groups as it has, and without controls."""
    config = of_scout(folder)
    own = config["merge"].pop("sources", {})
    merge = {**config["merge"], "sources": {name: own[name] for name in names if name in own}}
    return {**config, "sources": sources_of(config, names), "merge": merge, "controls": {}}


def part_scout(folder: Path, _: Mapping[str, Any]) -> list[tuple[str, Config]]:
    """Return the scout's own run."""
    return [("scout-run", of_scout(folder))]


def part_known(folder: Path, _: Mapping[str, Any]) -> list[tuple[str, Config]]:
    """Return a run of the useful sources."""
    return [("known", with_sources(folder, USEFUL))]


def part_sizes(folder: Path, chosen: Mapping[str, Any]) -> list[tuple[str, Config]]:
    """Return runs of the first sources, from two on: a search of one source has nothing to merge."""
    added = [step["added"] for step in chosen["steps"] if step["added"] is not None]
    return [(f"first-{k}", with_sources(folder, added[:k])) for k in range(2, len(added) + 1)]


def part_all(folder: Path, chosen: Mapping[str, Any]) -> list[tuple[str, Config]]:
    """Return a run of all candidates, with one weight each."""
    config = with_sources(folder, sorted(chosen["alone"]))
    config["merge"] |= {"groups": "one", "sources": {}}
    return [("all", config)]


def part_score(folder: Path, chosen: Mapping[str, Any]) -> list[tuple[str, Config]]:
    """Return a run of the best sources by their own score; of equals the first by name."""
    alone = {name: each["score"] for name, each in chosen["alone"].items()}
    best = sorted(alone, key=lambda name: (-alone[name], name))
    return [("score", with_sources(folder, best[: len(chosen["chosen"])]))]


def part_kinship(folder: Path, chosen: Mapping[str, Any]) -> list[tuple[str, Config]]:
    """Return a run of the best source and those that are farthest from the ones before (Model Kinship)."""
    cosines = {tuple(sorted(pair["models"])): pair["cosine"] or 0.0 for pair in structure(folder)}
    alone = {name: each["score"] for name, each in chosen["alone"].items()}
    picked = [max(sorted(alone), key=lambda name: alone[name])]
    while len(picked) < len(chosen["chosen"]):
        left = [name for name in sorted(alone) if name not in picked]
        picked.append(min(left, key=lambda name: max(cosines[tuple(sorted((name, own)))] for own in picked)))
    return [("kinship", with_sources(folder, picked))]


def part_gates(folder: Path, chosen: Mapping[str, Any]) -> list[tuple[str, Config]]:
    """Return a run of the sources with the largest learned weights; the answers alone are the scout's."""
    ((_, config),) = part_all(folder, chosen)
    run = Run.open(config_from_data({**config, "learn": False}, folder), folder)
    spent = answers_alone(len(chosen["alone"]), len(run.items["fit"]))
    learner = GateLearner(run=run, budget=chosen["item_evaluations"], cost=spent)
    best = max(sorted(chosen["alone"]), key=lambda name: chosen["alone"][name]["score"])
    gates = learner.gates(best)
    return [("gates", with_sources(folder, [*gates][: len(chosen["chosen"])]))]


def structure(folder: Path) -> list[dict[str, Any]]:
    """Return the pairs of candidates with the cosines of their task vectors, by name."""
    found = json.loads(kingyo("scout", str(POOL), "--weights", "--out", str(folder / "scout"), "--json"))
    measured = found["groups"][0]["structure"]
    references = [each["reference"] for each in measured["members"]]
    names = {reference: name for name, reference in names_of(references).items()}
    return [{**pair, "models": [names[each] for each in pair["models"]]} for pair in measured["pairs"]]


def part_switches(folder: Path, chosen: Mapping[str, Any]) -> list[tuple[str, Config]]:
    """Return a run that chooses its sources by genes, at the cost of scout and search."""
    config = with_sources(folder, sorted(chosen["alone"]))
    config["merge"] |= {"groups": "one", "sources": {}, "choose_sources": True}
    config["budget"] = {"item_evaluations": chosen["item_evaluations"] + fit_answers(folder / "scout-run")}
    return [("switches", config)]


def part_soup(folder: Path, chosen: Mapping[str, Any]) -> list[tuple[str, Config]]:
    """Return a run of a greedy soup."""
    config = with_sources(folder, sorted(chosen["alone"]))
    config["merge"] = {"method": "linear", "parameters": {"weight": {"from": 0, "to": 1}}, "dtype": "float32"}
    config["search"] = {"strategy": f"{Path(__file__).parent.resolve()}/searching/soup.py:GreedySoup"}
    config["budget"] = {"item_evaluations": chosen["item_evaluations"] + fit_answers(folder / "scout-run")}
    return [("soup", config)]


PARTS: Mapping[str, Callable[[Path, Mapping[str, Any]], list[tuple[str, Config]]]] = {
    "scout": part_scout,
    "known": part_known,
    "sizes": part_sizes,
    "all": part_all,
    "score": part_score,
    "gates": part_gates,
    "kinship": part_kinship,
    "soup": part_soup,
    "switches": part_switches,
}

if __name__ == "__main__":
    main()

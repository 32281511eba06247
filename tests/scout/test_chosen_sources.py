"""A run.yaml that leaves the choice of its sources to a scout."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

import kingyo
from kingyo.errors import KingyoError
from kingyo.evolution import Event
from kingyo.run.config_file import asks_scout, config_from_data
from kingyo.run.run import Run
from kingyo.scout import Rules, catalogue, find_places
from kingyo.scout.choice import config_for
from kingyo.scout.chosen_sources import check_rest, request_of, require_alone, with_sources
from kingyo.scout.contenders import contenders
from kingyo.scout.task_candidates import TaskCandidates
from kingyo.strategies.stepwise import Step
from tests.cli.forked import run_forked
from tests.report.made_up_choice import World, made_up
from tests.scout.chosen import FIT, NAMES, ROOT, ZOO, write_task


def ignore(_event: Event, _steps: Sequence[Step]) -> None:
    """Ignore events."""


def with_chosen(data: dict[str, object], folder: Path) -> dict[str, object]:
    """Choose the sources of a run.yaml, with the scout's folder ``found-scout`` in the working directory."""
    request = request_of(data, folder, Path("found"))
    found = kingyo.scout_models(request.where, base=request.base, out=request.out)
    candidates = TaskCandidates.open(found, request)
    return with_sources(data, candidates, candidates.choose(ignore))


def run_yaml(folder: Path, scout: object) -> dict[str, object]:
    task = write_task(folder).name
    text = yaml.safe_dump({"sources": {"scout": scout}, "task": task, "budget": {"candidates": 4}})
    data: dict[str, object] = yaml.safe_load(text)
    assert asks_scout(data)
    return data


def zoo_of(folder: Path) -> list[str]:
    """Link the models into a folder, as a run.yaml names them."""
    for name in ("base", *NAMES):
        if not (folder / name).exists():
            (folder / name).symlink_to(ZOO / name)
    return [*NAMES, "base"]


def test_sources_are_chosen_and_the_rest_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = run_yaml(tmp_path, {"where": zoo_of(tmp_path), "most": 2})
    data["controls"] = {"grid": True, "random_sources": True}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    folder = Path("..")
    chosen = with_chosen(data, folder)
    assert not asks_scout(chosen) and chosen["budget"] == {"candidates": 4}
    config = config_from_data(chosen, folder)
    assert len(config.sources) == 2 and set(config.sources) < set(NAMES)
    run = Run.open(config, folder)
    assert run.settings.first.groups == "layers:4"
    assert (folder / str(config.scout)).samefile("found-scout/trials")
    assert [search.name for search in run.searches] == ["main", "grid", "random_sources"]
    drawn = config.controls.random_sources
    assert len(drawn) == 2 and all((folder / path).samefile(ZOO / name) for name, path in drawn.items())
    assert with_chosen(data, folder) == chosen  # scores nothing again


def test_keys_of_the_merge_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    controls = {"random_sources": {"sort": "sort"}}
    merge = {"method": "ties", "parameters": {"weight": {"from": 0, "to": 1}, "density": 0.5}}
    data = {
        **run_yaml(tmp_path, {"where": zoo_of(tmp_path), "most": 1}),
        "merge": merge,
        "controls": controls,
    }
    chosen = with_chosen(data, tmp_path)
    assert chosen["merge"] == merge and chosen["controls"] == controls


def candidates_in_frame(folder: Path, scout: object, frame: str) -> tuple[dict[str, object], TaskCandidates]:
    """Return a run.yaml with the frame of its merge, and the candidates of models that see."""
    data = {**run_yaml(folder, scout), "merge": {"method": "ties", "frame": frame}}
    task = yaml.safe_load((ROOT / "examples" / "sight" / "run.yaml").read_text(encoding="utf-8"))["task"]
    data["task"] = {**task, "data": str(ZOO / "sight" / "tasks" / "questions-ja.jsonl")}
    request = request_of(data, folder, Path("found"))
    return data, TaskCandidates.open(kingyo.scout_models(request.where), request)


@pytest.mark.parametrize("frame", ["multi", "sight/multi"])
def test_the_frame_of_the_merge_is_that_of_the_trial_merges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sight").symlink_to(ZOO / "sight")
    scout = [f"sight/{name}" for name in ("base", "ja", "see-en", "multi")]
    data, candidates = candidates_in_frame(tmp_path, scout, frame)
    assert candidates.run.models.frame == "multi"
    _, _, choice = made_up(World(useful=1, useless=2))
    names = tuple(candidates.references)
    choice = replace(
        choice, sources=names, chosen=("ja",), groups="layers:4", weights={"ja": (1.0,) * 4}, frame="multi"
    )
    found = with_sources(data, candidates, choice)
    assert found["sources"] == {"ja": "sight/ja", "multi": "sight/multi"}
    assert found["merge"] == {"method": "ties", "frame": "multi"}
    del data["merge"]
    merge = config_from_data(with_sources(data, candidates, choice), tmp_path).merge
    assert (merge.frame, merge.groups) == ("multi", "layers:6")
    assert merge.sources["multi"].parameters == {"weight": 0}


def test_a_frame_that_is_no_candidate_is_an_error_of_the_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KingyoError) as raised:
        candidates_in_frame(
            tmp_path, [str(ZOO / "sight" / name) for name in ("base", "ja", "see-en")], "eyes"
        )
    assert raised.value.argument == "merge.frame"


@pytest.mark.parametrize(
    ("scout", "argument"),
    [
        ({"where": ["gone"]}, "no such folder or file"),
        ({"where": []}, "where"),
        ({"were": ["ja"]}, "were"),
        ({"where": ["ja", "base"]}, "1 that can be merged; 1 excluded: the base itself (1)"),
    ],
)
def test_wrong_keys_and_too_few_candidates_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scout: dict[str, object], argument: str
) -> None:
    zoo_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KingyoError) as raised:
        with_chosen(run_yaml(tmp_path, scout), tmp_path)
    assert argument in str(raised.value)


def test_a_model_called_scout_beside_others_is_a_source(tmp_path: Path) -> None:
    zoo_of(tmp_path)
    sources = {"scout": "poem", "ja": "ja"}
    assert not asks_scout({"sources": sources})
    assert not asks_scout({"sources": {"ja": "models/ja"}}) and not asks_scout({})
    require_alone(sources, tmp_path)
    require_alone({"scout": "org/name", "ja": "ja"}, tmp_path)
    require_alone({"scout": "."}, tmp_path)


@pytest.mark.parametrize("scout", [".", "@list.txt", "list.txt", ["ja"], {"where": ["ja"]}])
def test_a_scout_must_stand_alone(tmp_path: Path, scout: object) -> None:
    zoo_of(tmp_path)
    (tmp_path / "list.txt").write_text("ja", encoding="utf-8")
    data = {**run_yaml(tmp_path, scout), "sources": {"scout": scout, "poem": "poem"}}
    with pytest.raises(KingyoError, match="no other sources") as raised:
        kingyo.evolve(data, tmp_path / "run", folder=tmp_path)
    assert raised.value.argument == "sources.scout" and "received poem" in str(raised.value)


def test_paths_start_at_the_folder_of_the_run_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("home", "elsewhere"):
        (tmp_path / folder).mkdir()
    zoo_of(tmp_path)
    (tmp_path / "list.txt").write_text(str(ZOO / "ja"), encoding="utf-8")
    monkeypatch.chdir(tmp_path / "elsewhere")
    where = ["@../list.txt", "../list.txt", "../ja", "@gone.txt", "org/name"]
    found = request_of(run_yaml(tmp_path, where), Path("../home"), Path("run")).where
    assert found == ["@../list.txt", "../list.txt", "../ja", "@../home/gone.txt", "org/name"]
    (tmp_path / "home" / "list.txt").write_text("", encoding="utf-8")
    assert request_of(run_yaml(tmp_path, "@list.txt"), Path("../home"), Path("run")).where == [
        "@../home/list.txt"
    ]


@pytest.mark.parametrize(
    ("run", "scout"),
    [("runs/a", "runs/a-scout"), (".", "../here-scout"), ("", "../here-scout"), ("..", "../../above-scout")],
)
def test_what_is_measured_lies_beside_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str, scout: str
) -> None:
    here = tmp_path / "above" / "here"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    out = request_of(run_yaml(tmp_path, "ja"), tmp_path, Path(run)).out
    assert out.resolve() == (here / scout).resolve()


def test_the_root_is_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(KingyoError, match="another run folder") as raised:
        request_of(run_yaml(tmp_path, "ja"), tmp_path, Path("/"))
    assert raised.value.argument == "/"


MISTAKES = (
    ({"bogus": 1}, "bogus"),
    ({"budget": None}, "budget"),
    ({"budget": {"candidates": -6}}, "budget.candidates"),
    ({"seed": "abc"}, "seed"),
    ({"merge": 5}, "merge"),
    ({"merge": None}, "merge"),
    ({"merge": {"method": "tiez"}}, "method"),
    ({"name": "../../x y"}, "name"),
    ({"base": 7}, "base"),
    ({"search": {"preset": "fsat"}}, "preset"),
    ({"search": {"strategy": "item-pg"}}, "strategy"),
    ({"space": "dataflow", "dataflow": {"frame": 7}}, "dataflow.frame"),
    ({"controls": {"random_sources": 3}}, "controls.random_sources"),
)


@pytest.mark.parametrize(("changes", "argument"), MISTAKES)
def test_mistakes_in_the_rest_are_found_before_the_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], argument: str
) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    data = {**run_yaml(folder, "gone"), **changes}
    with pytest.raises(KingyoError) as raised:
        kingyo.evolve(data)
    assert argument in str(raised.value).partition(". ")[0]
    assert [path.name for path in tmp_path.rglob("*")] == ["home", "ja-math.yaml"]


def test_what_depends_on_the_sources_is_no_mistake(tmp_path: Path) -> None:
    """Names of candidates, and keys that the choice fills in."""
    data = run_yaml(tmp_path, "gone")
    rest = {"merge": {"method": "ties", "frame": "ja", "sources": {"ja": {"groups": "block"}}}}
    assert check_rest({**data, **rest, "controls": {"random_sources": True}}, tmp_path).merge.frame == "ja"
    paths = {"space": "dataflow", "dataflow": {"frame": "ja"}}
    assert check_rest({**data, **paths}, tmp_path).space == "dataflow"


def kingyo_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_forked(arguments, folder, os.environ)


def test_a_dry_run_reports_all_mistakes_once(tmp_path: Path) -> None:
    write_run(tmp_path, serch=1, base=7)
    done = kingyo_in(tmp_path, "evolve", "run.yaml", "--dry-run")
    assert done.returncode == 1 and done.stdout == "" and "2 mistakes" in done.stderr, done.stderr
    assert done.stderr.count("serch") == done.stderr.count("base: ") == 1


@pytest.mark.parametrize("options", [(), ("--seeds", "2")])
def test_a_run_folder_in_use_is_refused_before_the_choice(tmp_path: Path, options: tuple[str, ...]) -> None:
    write_run(tmp_path)
    (tmp_path / "runs" / "run").mkdir(parents=True)
    (tmp_path / "runs" / "run" / "run.db").touch()
    by_scout = kingyo_in(tmp_path, "evolve", "run.yaml", *options)
    write_run(tmp_path, sources={"ja": "ja", "sort": "sort"}, base="base")
    named = kingyo_in(tmp_path, "evolve", "run.yaml", *options)
    last = by_scout.stderr.splitlines()[-1]
    assert by_scout.returncode == 1 and last == named.stderr.splitlines()[-1]
    assert "received other files" in last or "received a single run" in last
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["run"]


def test_in_python_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KingyoError, match="other files"):
        kingyo.evolve(run_yaml(tmp_path, "gone"), tmp_path)


def write_run(folder: Path, **changes: object) -> dict[str, object]:
    data = {
        **run_yaml(folder, {"where": zoo_of(folder), "most": 2}),
        "batch_size": 16,
        "threads": 1,
        **changes,
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    return data


def test_evolve_chooses_runs_and_resumes_without_a_note_on_the_file(tmp_path: Path) -> None:
    write_run(tmp_path, controls={"random_sources": True})
    done = kingyo_in(tmp_path, "evolve", "run.yaml")
    assert done.returncode == 0, done.stderr
    scout = tmp_path / "runs" / "run-scout"
    assert (scout / "trials" / "run.db").is_file()
    assert "Their plain merge solves" in done.stdout
    if find_spec("vl_convert") is not None:
        assert "Wrote runs/run-scout/report.html." in done.stdout
        assert "2 of 5 candidates were chosen" in (scout / "report.html").read_text(encoding="utf-8")
    again = kingyo_in(tmp_path, "resume", "runs/run", "--json")
    assert again.returncode == 0 and "has changed since" not in again.stderr, again.stderr
    shown = json.loads(again.stdout)
    assert len(shown["baselines"]) == 4  # base, two sources, uniform
    assert list(shown["controls"]) == ["random_sources"]


def test_a_dry_run_plans_the_choice_and_writes_nothing(tmp_path: Path) -> None:
    write_run(tmp_path)
    before = sorted(tmp_path.iterdir())
    text = kingyo_in(tmp_path, "evolve", "run.yaml", "--dry-run").stdout
    assert f"Task ja-math: {FIT} fit items. 5 candidates for base." in text
    assert "The search is planned when sources are chosen." in text and "--budget" not in text
    done = kingyo_in(tmp_path, "evolve", "run.yaml", "--dry-run", "--json")
    scouted = kingyo_in(tmp_path, "scout", "--task", "ja-math.yaml", "--dry-run", "--json", "base", *NAMES)
    assert json.loads(done.stdout)["plan"] == json.loads(scouted.stdout)["plan"]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"item_evaluations": 1}, ("sources.scout.item_evaluations: ", "at least 84 answers")),
        ({"most": 10**23}, ("sources.scout: most: ",)),
        ({"minutes": 1e300}, ("sources.scout: minutes: ",)),
    ],
)
def test_impossible_limits_are_refused_before_weights_are_read(
    tmp_path: Path, limits: dict[str, object], words: tuple[str, ...]
) -> None:
    write_run(tmp_path, sources={"scout": {"where": zoo_of(tmp_path), **limits}})
    for options in ((), ("--dry-run",)):
        done = kingyo_in(tmp_path, "evolve", "run.yaml", *options)
        assert done.returncode == 1 and "Traceback" not in done.stderr and "--" not in done.stderr, (
            done.stderr
        )
        assert all(word in done.stderr for word in words), done.stderr
        assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_evolve_in_python_chooses_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with kingyo.evolve(write_run(tmp_path)) as run:
        assert len(run.config.sources) == 2 and run.config.scout == "runs/run-scout/trials"


def test_the_example_of_the_pool_names_what_is_there() -> None:
    """Its choice takes minutes and is measured by benchmarks/pool.py."""
    folder = ROOT / "examples" / "pool"
    data: dict[str, object] = yaml.safe_load((folder / "run.yaml").read_text(encoding="utf-8"))
    assert asks_scout(data)
    found = catalogue(find_places([str(ROOT / "zoo" / "pool")]), None, Rules(), lambda _: None)
    group = contenders(found).group
    assert len(group.members) == 20
    given = {"task": str(folder / "task.yaml"), "threads": 1}
    run = Run.open(config_for(group, given, ROOT, 0), ROOT)
    assert {split: len(items) for split, items in run.items.items()} == {
        "fit": 400,
        "validation": 300,
        "test": 600,
    }

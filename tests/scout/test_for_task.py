"""A run.yaml that leaves the choice of its sources to a scout, up to the beginning of its run."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import kingyo
from kingyo.errors import KingyoError
from kingyo.runs.choice import ChoiceRequest
from kingyo.runs.config_file import asks_scout
from kingyo.scout.for_task import (
    ScoutRequest,
    TaskCandidates,
    check_rest,
    names_of,
    relative_to,
)
from tests.cli.merging import write_lora
from tests.scout.chosen import NAMES, ROOT, ZOO, candidates_of, models, read, run_yaml


def zoo_of(folder: Path) -> list[str]:
    """Link the models into a folder, as a run.yaml names them."""
    for name in ("base", *NAMES):
        if not (folder / name).exists():
            (folder / name).symlink_to(ZOO / name)
    return [*NAMES, "base"]


def planned(data: dict[str, object], folder: Path) -> TaskCandidates:
    request = ScoutRequest.of(data, folder, folder / "out")
    return TaskCandidates.planned(request.read(lambda _what, _done, _total: None), request)


def test_candidates_are_named_from_the_folder_of_the_run_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its weights are measured once."""
    data = run_yaml(tmp_path, {"where": zoo_of(tmp_path), "most": 2, "max_size": "1GB"})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    candidates = candidates_of(data, Path(".."), Path("run"))
    assert dict(candidates.run.config.sources) == {name: name for name in NAMES}
    request = candidates.choice_request()
    assert request.asked == data and request.most == 2 and request.capacity == 1e9
    assert len(request.changes) == len(request.costs) == 5
    measured = (Path("run") / "evidence.db").read_bytes()
    assert candidates_of(data, Path(".."), Path("run")).choice_request() == request
    assert (Path("run") / "evidence.db").read_bytes() == measured
    with candidates.begin(Path("run")) as run:
        assert run.begun.folder == Path("run"), "the folder of what was measured is that of the run"


@pytest.mark.parametrize("frame", ["multi", "sight/multi"])
def test_the_frame_of_the_merge_is_that_of_the_trial_merges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sight").symlink_to(ZOO / "sight")
    scout = [f"sight/{name}" for name in ("base", "ja", "see-en", "multi")]
    assert planned(in_frame(tmp_path, scout, frame), tmp_path).run.models.frame == "multi"


def in_frame(folder: Path, scout: object, frame: str) -> dict[str, object]:
    """Return a run.yaml for models that see, with the frame of its merge."""
    task = yaml.safe_load((ROOT / "examples" / "sight" / "run.yaml").read_text(encoding="utf-8"))["task"]
    task = {**task, "data": str(ZOO / "sight" / "tasks" / "questions-ja.jsonl")}
    return run_yaml(folder, scout, task=task, merge={"method": "ties", "frame": frame})


def test_a_frame_that_is_no_candidate_is_an_error_of_the_merge(tmp_path: Path) -> None:
    scout = [str(ZOO / "sight" / name) for name in ("base", "ja", "see-en")]
    with pytest.raises(KingyoError) as raised:
        planned(in_frame(tmp_path, scout, "eyes"), tmp_path)
    assert raised.value.argument == "merge.frame"


@pytest.mark.parametrize(
    ("scout", "argument"),
    [
        ({"where": ["gone"]}, "gone"),
        ({"where": []}, "sources.scout"),
        ({"were": ["ja"]}, "sources.scout"),
        ({"where": ["ja", "base"]}, "sources.scout"),
        ({"where": models(), "item_evaluations": 1}, "sources.scout.item_evaluations"),
        ({"where": models(), "max_size": "2kB"}, "sources.scout.max_size"),
        ({"where": models(), "max_size": "much"}, "sources.scout.max_size"),
        ({"where": models(), "most": 10**23}, "sources.scout"),
        ({"where": models(), "minutes": 1e300}, "sources.scout"),
    ],
)
def test_wrong_keys_and_impossible_limits_are_errors(
    tmp_path: Path, scout: dict[str, object], argument: str
) -> None:
    zoo_of(tmp_path)
    with pytest.raises(KingyoError) as raised:
        planned(run_yaml(tmp_path, scout), tmp_path)
    assert argument in str(raised.value).partition(":")[0] and not (tmp_path / "out").exists()


def test_copies_are_not_tried(tmp_path: Path) -> None:
    shutil.copytree(ZOO / "ja", tmp_path / "copy")
    where = [*models(("ja",)), str(tmp_path / "copy")]
    with pytest.raises(KingyoError) as raised:
        candidates_of(run_yaml(tmp_path, where), tmp_path, tmp_path / "out")
    assert raised.value.received.startswith("2 that can be merged, 1 of them equal to the base or nearly")
    candidates = candidates_of(run_yaml(tmp_path, [*where, *models(("poem",))]), tmp_path, tmp_path / "out")
    assert len(candidates.left_out) == 1 and len(candidates.run.config.sources) == 2


def test_paths_start_at_the_folder_of_the_run_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("home", "elsewhere"):
        (tmp_path / folder).mkdir()
    zoo_of(tmp_path)
    monkeypatch.chdir(tmp_path / "elsewhere")
    where = ["../elsewhere", "../ja", "org/name"]
    request = ScoutRequest.of(run_yaml(tmp_path, where), Path("../home"), Path("run"))
    assert request.wanted.where == where


MISTAKES = (
    ({"bogus": 1}, "bogus"),
    ({"budget": None}, "budget"),
    ({"budget": {"candidates": -6}}, "budget.candidates"),
    ({"seed": "abc"}, "seed"),
    ({"merge": 5}, "merge"),
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
    with pytest.raises(KingyoError) as raised:
        kingyo.evolve({**run_yaml(folder, "gone"), **changes})
    assert argument in str(raised.value).partition(". ")[0]
    assert [path.name for path in tmp_path.rglob("*")] == ["home", "ja-math.yaml"]


def test_what_depends_on_the_sources_is_no_mistake(tmp_path: Path) -> None:
    """Names of candidates, and keys that the choice fills in."""
    data = run_yaml(tmp_path, "gone")
    rest = {"merge": {"method": "ties", "frame": "ja", "sources": {"ja": {"groups": "block"}}}}
    assert check_rest({**data, **rest, "controls": {"random_sources": True}}, tmp_path).merge.frame == "ja"
    paths = {"space": "dataflow", "dataflow": {"frame": "ja"}}
    assert check_rest({**data, **paths}, tmp_path).space == "dataflow"


def test_a_run_folder_in_use_is_refused_before_the_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(KingyoError) as raised:
        kingyo.evolve(run_yaml(tmp_path, "gone"), tmp_path)
    assert raised.value.argument == str(tmp_path) and raised.value.received == "other files"


def test_names_are_unique_and_allowed() -> None:
    names = names_of(["a/ja", "b/ja", "c/base", "base+loras/ja", "org/mö del@main", "x/uniform"])
    assert list(names) == ["ja", "ja-2", "base-1", "ja-3", "m-del", "uniform-1"]
    assert list(names.values())[3] == "base+loras/ja"
    pipelines = ["a/fast/unet", "org/name/transformer@main", "a/base/unet+a/ink", "unet"]
    assert list(names_of(pipelines)) == ["fast", "name", "ink", "unet"]


def test_references_of_loras_are_relative_in_both_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a+b"
    folder.mkdir()
    shutil.copytree(ZOO / "base", folder / "base")
    write_lora(folder / "lora", "base")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    assert relative_to("a+b/base+a+b/lora", Path("out")) == "../a+b/base+../a+b/lora"
    assert relative_to("org/name@main+org/lora", Path("out")) == "org/name@main+org/lora"
    assert relative_to(f"{folder / 'base'}+org/lora@v1", Path("out")) == "../a+b/base+org/lora@v1"


def test_the_example_of_the_pool_names_what_is_there(tmp_path: Path) -> None:
    """Its choice takes minutes and is measured by benchmarks/pool.py."""
    folder = ROOT / "examples" / "pool"
    data: dict[str, object] = yaml.safe_load((folder / "run.yaml").read_text(encoding="utf-8"))
    assert asks_scout(data)
    request = ScoutRequest.of(data, folder, tmp_path)
    candidates = TaskCandidates.open(read([str(ZOO / "pool")]), request)
    assert len(candidates.group.members) == 20 and candidates.choice_request() == replace(
        ChoiceRequest(), asked=data, costs=tuple(candidates.sizes)
    )
    sizes = {split: len(items) for split, items in candidates.run.items.items()}
    assert sizes == {"fit": 400, "validation": 300, "test": 600}

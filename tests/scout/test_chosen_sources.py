"""A run.yaml that leaves the choice of its sources to a scout."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from kingyo.errors import KingyoError
from kingyo.evolution import Event
from kingyo.run.config_file import asks_scout, config_from_data
from kingyo.run.run import Run
from kingyo.scout import Rules, catalogue, find_places
from kingyo.scout.choice import config_for
from kingyo.scout.chosen_sources import Watching, with_chosen_sources
from kingyo.scout.contenders import contenders
from kingyo.strategies.stepwise import Step
from tests.cli.conftest import command
from tests.scout.chosen import NAMES, ROOT, ZOO, write_task


def ignore(_event: Event, _steps: Sequence[Step]) -> None:
    """Ignore events."""


WATCHING = Watching(say=print, begin=lambda _: ignore)


def run_yaml(folder: Path, scout: object) -> dict[str, object]:
    task = write_task(folder).name
    text = yaml.safe_dump({"sources": {"scout": scout}, "task": task, "budget": {"candidates": 4}})
    data: dict[str, object] = yaml.safe_load(text)
    assert asks_scout(data)
    return data


def zoo_of(folder: Path) -> list[str]:
    """Link the models into a folder, as a run.yaml names them."""
    for name in ("base", *NAMES):
        (folder / name).symlink_to(ZOO / name)
    return [*NAMES, "base"]


def test_sources_are_chosen_and_the_rest_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = run_yaml(tmp_path, {"where": zoo_of(tmp_path), "most": 2})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    folder = Path("..")
    chosen = with_chosen_sources(data, folder, Path("found"), 0, WATCHING)
    assert not asks_scout(chosen) and chosen["budget"] == {"candidates": 4}
    config = config_from_data(chosen, folder)
    assert len(config.sources) == 2 and set(config.sources) < set(NAMES)
    run = Run.open(config, folder)
    assert run.settings.first.groups == "layers:4" and len(run.first_merges) > 0
    assert (folder / str(config.scout)).samefile("found/trials")
    assert with_chosen_sources(data, folder, Path("found"), 0, WATCHING) == chosen  # scores nothing again


def test_keys_of_the_merge_stay(tmp_path: Path) -> None:
    merge = {"method": "ties", "parameters": {"weight": {"from": 0, "to": 1}, "density": 0.5}}
    data = {**run_yaml(tmp_path, {"where": zoo_of(tmp_path), "most": 1}), "merge": merge}
    assert with_chosen_sources(data, tmp_path, tmp_path / "found", 0, WATCHING)["merge"] == merge


@pytest.mark.parametrize(
    ("scout", "argument"),
    [
        ({"where": ["gone"]}, "1 unreadable"),
        ({"where": []}, "where"),
        ({"were": ["ja"]}, "were"),
        ({"where": ["ja", "base"]}, "1 that can be merged; excluded: 1 the base itself"),
    ],
)
def test_wrong_keys_and_too_few_candidates_are_errors(
    tmp_path: Path, scout: dict[str, object], argument: str
) -> None:
    zoo_of(tmp_path)
    with pytest.raises(KingyoError) as raised:
        with_chosen_sources(run_yaml(tmp_path, scout), tmp_path, tmp_path / "found", 0, WATCHING)
    assert argument in str(raised.value)


def test_a_source_called_scout_beside_others_is_a_source() -> None:
    assert not asks_scout({"sources": {"scout": "models/scout", "ja": "models/ja"}})
    assert not asks_scout({"sources": {"ja": "models/ja"}}) and not asks_scout({})


def test_evolve_chooses_runs_and_resumes_without_a_note_on_the_file(tmp_path: Path) -> None:
    data = {**run_yaml(tmp_path, {"where": zoo_of(tmp_path), "most": 2}), "batch_size": 16, "threads": 1}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")

    def kingyo(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command(*arguments), cwd=tmp_path, capture_output=True, text=True, check=False)

    done = kingyo("evolve", "run.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["baselines"]) == 4  # base, two sources, uniform
    assert (tmp_path / "runs" / "run-scout" / "trials" / "run.db").is_file()
    again = kingyo("resume", "runs/run")
    assert again.returncode == 0 and "has changed since" not in again.stderr, again.stderr
    refused = kingyo("evolve", "run.yaml", "--run", "runs/other", "--dry-run")
    assert refused.returncode == 1 and "kingyo scout WHERE" in refused.stderr


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

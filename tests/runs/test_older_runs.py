"""Runs that earlier checkouts began, with settings that are gone."""

from pathlib import Path
from typing import Any

import pytest

from kingyo.errors import KingyoError
from kingyo.runs.config import RunConfig
from kingyo.runs.setup import stored_config
from kingyo.store import RunStore

CONFIG = {"sources": {"a": "a", "b": "b"}, "budget": {"candidates": 1}}
TASK = {"kind": "generate", "data": "rows.jsonl", "grader": "exact"}


def config_of(folder: Path, **settings: Any) -> RunConfig:
    with RunStore.create(folder / "run") as store:
        store.set_fact("folder", str(folder))
        store.set_fact("versions", {"kingyo": "0.1.0", "kingyo's code": "cdbbe57a7b83"})
        store.set_fact("config", CONFIG | settings)
        return stored_config(store)[0]


def test_what_a_begun_run_no_longer_needs_is_left_out(tmp_path: Path) -> None:
    config = config_of(
        tmp_path,
        scout={"where": ["a"]},
        space="dataflow",
        dataflow={"max_hops": 3, "known": [], "max_size": "1GB"},
        tasks={"one": {**TASK, "splits": {"fit": 2, "validation": 2, "test": 2, "similar": 0.9}}},
    )
    assert config.dataflow is not None and config.dataflow.max_hops == 3
    assert config.specs["one"].splits.fit == 2


def test_trial_merges_of_an_older_scout_are_no_run(tmp_path: Path) -> None:
    with RunStore.create(tmp_path / "run") as store:
        store.set_fact("options", {"min_gain": 0.01})
    with pytest.raises(KingyoError, match="the checkout that wrote them"):
        RunStore.open(tmp_path / "run")


def test_a_run_with_other_settings_names_the_code_that_knows_them(tmp_path: Path) -> None:
    with pytest.raises(KingyoError) as error:
        config_of(tmp_path, task=TASK, budget={"candidates": 1, "joules": 5})
    assert "joules" in error.value.received and "code cdbbe57a7b83" in error.value.remedy

"""Resume by a replay of the log: the end is that of a run never stopped, and a log that differs is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from kingyo.errors import KingyoError
from kingyo.search.evolution import Journey, Limits
from kingyo.search.strategies import build
from kingyo.store import RunStore
from tests.databases import edited
from tests.screened_runs import AXES, SMALL_GP, Model, begun, facts, journey, some_fail

MADE: dict[str, dict[str, object]] = {
    "item-gp": SMALL_GP,
    "tpe": {"batch": 5, "startup": 5, "memory": 30},
}


def searching(store: RunStore, model: Model, name: str, **settings: object) -> Journey:
    strategy = build(name, AXES, 3, {**MADE[name], **settings})
    return journey(store, model, strategy, limits=Limits(candidates=40))


def stopped(folder: Path, name: str) -> Model:
    """Start a run that is killed in its fifth generation."""
    model = Model(some_fail, stop_after=25)
    with begun(folder) as store, pytest.raises(KeyboardInterrupt):
        searching(store, model, name).run()
    return model


@pytest.mark.parametrize("name", MADE)
def test_a_resumed_run_ends_like_an_uninterrupted_one(tmp_path: Path, name: str) -> None:
    with begun(tmp_path / "whole") as store:
        searching(store, Model(some_fail), name).run()
        expected = facts(store)
    first = stopped(tmp_path / "stopped", name)
    with RunStore.open(tmp_path / "stopped") as store:
        searching(store, Model(some_fail, before=first), name).run()
        assert facts(store) == expected


def test_a_log_that_was_changed_is_found(tmp_path: Path) -> None:
    stopped(tmp_path / "run", "item-gp")
    with edited(tmp_path / "run") as database:
        database.execute(
            "UPDATE trials SET genome = '[0.5, 0.5, 0.5, 0.5]' WHERE search = 'main' AND number = 7"
        )
    with RunStore.open(tmp_path / "run") as store, pytest.raises(KingyoError, match="stored batch 1"):
        searching(store, Model(some_fail), "item-gp").run()


def test_different_settings_are_detected(tmp_path: Path) -> None:
    stopped(tmp_path / "run", "item-gp")
    with RunStore.open(tmp_path / "run") as store, pytest.raises(KingyoError, match="to ask for the stored"):
        searching(store, Model(some_fail), "item-gp", pool=90).run()

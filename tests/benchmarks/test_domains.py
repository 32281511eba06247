"""Tables of domains: files can be read back, and a recording resumes."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from domains.landscape import Landscape
from domains.play import Play
from domains.record import Recording
from domains.replay import Replay, replay
from domains.smollm2 import smollm2
from domains.table import TABLES, Meta, Table, TableAxis
from domains.text_zoo import text_zoo
from domains.worlds import world

SMALL = replace(text_zoo()[0], pool=4)


@pytest.fixture
def table() -> Table:
    meta = Meta(
        name="two",
        family="none",
        axes=(TableAxis(name="a", low=0, high=1.5),),
        known={"base": 0},
        items=("x", "y", "z"),
        item_tasks=("one", "one", "other"),
        grader="number",
        seconds=0.5,
        versions={"torch": "2"},
    )
    scores = np.array([[0, 0, 0], [100, 50, 25]], np.uint8)
    return Table(genomes=np.array([[0], [0.3]], np.float32), scores=scores, meta=meta)


def test_a_table_is_read_as_it_was_written(tmp_path: Path, table: Table) -> None:
    table.save(tmp_path / "tables" / "two.npz")
    again = Table.load(tmp_path / "tables" / "two.npz")
    assert again.meta == table.meta
    np.testing.assert_array_equal(again.genomes, table.genomes)
    np.testing.assert_array_equal(again.scores, table.scores)


def test_scores_that_do_not_fit_are_refused(table: Table) -> None:
    with pytest.raises(ValueError, match="two: expected scores"):
        replace(table, scores=table.scores[:1])


def test_a_recording_of_different_items_is_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "two.jsonl"
    Recording(SMALL, file)
    before = file.read_bytes()
    with pytest.raises(SystemExit, match="other items"):
        Recording(replace(SMALL, pool=3), file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("path", sorted(TABLES.glob("*.npz")), ids=lambda path: path.stem)
def test_tables_are_of_domains_that_exist(path: Path) -> None:
    table = Table.load(path)
    every = [f"{each.name}-{grader}" for each in (*text_zoo(), *smollm2(Path())) for grader in each.graders]
    assert table.meta.name == path.stem
    assert path.stem in every
    assert table.scores.max() <= 100
    assert not table.genomes[table.meta.known["base"]].any()


def test_a_replay_repeats_recorded_merges_and_is_near_those_that_were_left_out() -> None:
    table = Table.load(TABLES / "ja-two-exact.npz")
    np.testing.assert_array_equal(
        Replay(table).score(table.genomes[:9].astype(float)), table.scores[:9] / 100
    )
    kept = np.arange(len(table.genomes)) % 5 > 0
    kept[: len(table.meta.known)] = True
    part = Replay(replace(table, genomes=table.genomes[kept], scores=table.scores[kept]))
    gaps = part.score(table.genomes[~kept].astype(float)).mean(axis=1) - table.means[~kept]
    assert np.sqrt((gaps**2).mean()) < 0.09
    assert abs(gaps.mean()) < 0.03


@pytest.mark.parametrize("domain", [world("plateau", 3), world("parent", 1), replay("real/both-four-exact")])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_best_of_a_run_is_chosen_in_the_same_way_for_all_contenders(domain: Landscape, seed: int) -> None:
    play = Play(domain, seed)
    records = play.run({}, {"candidates": 12})
    best = play.best_of_run(records.winner)
    np.testing.assert_array_equal(records.exported, play.row(best)[play.splits["test"]])

"""A run whose items belong together: its numbers go by group, and say so."""

import json
import runpy
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kingyo.cli.tables import print_summary
from kingyo.core.types import Evaluation, Item, ItemScore, Split
from kingyo.search.evolution.objectives import Objectives
from kingyo.search.evolution.race import Race
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.strategies.source_changes import paired_gain
from kingyo.store import RunStore
from kingyo.views.page import write_report
from kingyo.views.results.summary import summarize
from tests.fake_runs import SPLITS, Model, journey

PAIRS: Mapping[Split, Sequence[Item]] = {
    split: tuple(replace(item, group=f"prompt {n // 2}") for n, item in enumerate(items))
    for split, items in SPLITS.items()
}


def test_every_number_of_items_names_its_groups(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunStore.create(tmp_path / "run") as store:
        store.begin({"status": "running", "name": "pairs"}, PAIRS)
        journey(store, Model()).run()
        assert store.groups()["test5"] == "prompt 2"
        summary = summarize(store)
        winner = summary.winner
        assert winner is not None and winner.test is not None and summary.predicted is not None
        assert (winner.test.n, winner.test.n_groups) == (6, 3)
        assert (summary.predicted.n, summary.predicted.n_groups) == (5, 3)
        assert {each.difference.n_groups for each in summary.comparisons} == {3}
        assert {each.test for each in summary.comparisons} == {"student"}
        assert json.loads(json.dumps(summary.to_json()))["winner"]["test"]["groups"] == 3
        print_summary(summary)
        page = write_report(store).read_text(encoding="utf-8")
    shown = " ".join(capsys.readouterr().out.split())
    compare = Path(__file__).parents[3] / "examples" / "vision" / "compare.py"
    monkeypatch.setattr(sys, "argv", ["compare.py", *[str(tmp_path / "run")] * 2])
    runpy.run_path(str(compare), run_name="__main__")
    assert "n=6 items of 3 prompts" in capsys.readouterr().out
    assert "of 3 prompts" in shown and "n = 6 items of 3 prompts" in shown
    assert "n = 6 items of 3 prompts" in page.replace("\N{NO-BREAK SPACE}", " ")


def items(n: int, size: int) -> list[Item]:
    return [Item(id=f"{i}", prompt=f"{i}", answer="", group=f"prompt {i // size}") for i in range(n)]


@pytest.mark.parametrize(("size", "is_out"), [(1, True), (20, False)])
def test_a_race_does_not_end_by_one_group(size: int, is_out: bool) -> None:
    """The second trial loses 20 items: enough if they are independent, no evidence if they are one prompt."""
    scorer = Scorer(Objectives(), items(200, size))
    race = Race(scorer=scorer, n=2, seed=1)
    lost = {f"{i}" for i in range(20)}
    rows = [
        dict.fromkeys(race.order[:100], 1.0),
        {item: float(item not in lost) for item in race.order[:100]},
    ]
    assert sum(score == 0 for score in rows[1].values()) >= 8
    assert race.still_in(dict(enumerate(rows)), 100) == ([0] if is_out else [0, 1])


def test_a_model_is_not_ahead_by_one_group() -> None:
    def scored(right: int) -> Evaluation:
        return Evaluation(
            scores=tuple(ItemScore(item=f"{i}", score=float(i < right), answer="") for i in range(40))
        )

    alone, grouped = (Scorer(Objectives(), items(40, size)) for size in (1, 8))
    assert alone.is_ahead(scored(16), scored(12))
    assert not grouped.is_ahead(scored(16), scored(12)), "four pictures of one prompt"


def test_gains_of_a_choice_go_by_group() -> None:
    rng = np.random.default_rng(0)
    gaps = np.repeat(rng.random(20) < 0.5, 8).astype(float)
    labels = [f"prompt {i // 8}" for i in range(160)]
    alone = paired_gain(gaps.tolist(), [0.0] * 160)
    grouped = paired_gain(gaps.tolist(), [0.0] * 160, labels)
    assert grouped.mean == alone.mean and grouped.n == 160
    assert grouped.error / alone.error == pytest.approx(8**0.5, rel=0.05)
    assert paired_gain(gaps.tolist(), [0.0] * 160, [""] * 160) == alone
    one, other = [1.0, 0.0] * 20, [0.0, 1.0] * 20
    balanced = paired_gain(one, other, [f"prompt {i // 2}" for i in range(40)])
    assert balanced.error > 0.99 * paired_gain(one, other).error, (
        "a win and a loss in each group are no certainty"
    )

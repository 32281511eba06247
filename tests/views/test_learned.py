"""The report of a run that learned weights: hundreds of genes, shown as means of sources and blocks."""

import json
from pathlib import Path

import pytest

pytest.importorskip("vl_convert", reason="the report needs kingyo[report]")

from kingyo.cli.tables import print_trial
from kingyo.store import RunStore
from kingyo.views.page import page_view
from kingyo.views.results.trial_details import read_trial
from kingyo.views.run_data import RunData
from kingyo.views.tables import trials_table
from kingyo.views.trial_charts import trial_rows
from tests.views.reader import Reader, data_of_run, rendered

LESSON = ": 30 steps, 24 answers, loss 1.8 to 0.9"


@pytest.fixture
def data(runs: dict[str, Path]) -> RunData:
    return data_of_run(runs["learned"])


def test_genes_of_many_tensors_are_shown_as_means_of_sources(data: RunData) -> None:
    assert {gene.name for gene in data.genes} == {f"weight/{s}, mean" for s in ("ja", "math-en", "math-sym")}
    assert all(len(gene.places) == 92 for gene in data.genes)
    assert data.main is not None
    point, gene = data.main.points[13], data.genes[0]
    row = next(row for row in trials_table(data, data.main).rows if row[0].value == 13)
    genome = [point.trial.asked.genome[place] for place in gene.places]
    assert row[6].value == pytest.approx(sum(genome) / 92)


def test_the_chart_of_weights_has_a_row_for_each_block(data: RunData) -> None:
    (matrix,) = data.matrices
    assert matrix.size == 276
    assert matrix.groups == ("model.embed_tokens", *(f"block.{k}" for k in range(30)), "lm_head")
    assert page_view(data).charts["genes-weight"].height < 600
    assert matrix.means["ja"].count(" to ") == 1


def test_learned_trials_are_marked(data: RunData, runs: dict[str, Path]) -> None:
    assert data.main is not None
    assert [point.number for point in data.main.learned] == [12, 20]
    lesson = data.main.learned[0].lesson or ""
    assert lesson.startswith("learned from trial ") and lesson.endswith(LESSON)
    assert [row["trial"] for row in trial_rows(data) if row.get("lesson")] == [12, 20]
    assert "triangle-up" in json.dumps(page_view(data).charts["progress"].spec)
    page = Reader(rendered(runs["learned"]))
    assert (
        "Weights were learned in 2 lessons (trials 12 and 20) from up to 24 right answers, for 1,440 of"
        in page.text
    )
    assert sum(text.endswith(LESSON) for text in page.texts) == 2
    assert "Mean (lowest to highest): ja " in page.text


def test_a_long_recipe_is_not_printed(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    with RunStore.read(runs["learned"]) as store:
        print_trial(read_trial(store, "12"))
    out = capsys.readouterr().out
    assert LESSON in out
    assert f"lines: kingyo recipe {runs['learned']} --trial 12" in out and len(out.splitlines()) < 20

"""The report of a run that learned weights: hundreds of genes, shown as means of sources and blocks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("vl_convert", reason="the report needs kingyo[report]")

from kingyo.report.findings import Findings, read_findings
from kingyo.report.page import charts
from kingyo.report.tables import trials_table
from kingyo.report.trial_charts import trial_rows

from kingyo.cli.trials import print_trial, read_trial
from kingyo.store import RunStore
from tests.report.reader import Reader, rendered

LESSON = ": 30 steps, 24 answers, loss 1.8 to 0.9"


@pytest.fixture
def findings(runs: dict[str, Path]) -> Findings:
    with RunStore.read(runs["learned"]) as store:
        return read_findings(store)


def test_genes_of_many_tensors_are_shown_as_means_of_sources(findings: Findings) -> None:
    assert {gene.name for gene in findings.genes} == {
        f"weight/{s}, mean" for s in ("ja", "math-en", "math-sym")
    }
    assert all(len(gene.places) == 92 for gene in findings.genes)
    assert findings.main is not None
    point, gene = findings.main.points[13], findings.genes[0]
    row = next(row for row in trials_table(findings) if row["number"] == 13)
    genome = [point.trial.asked.genome[place] for place in gene.places]
    assert row["genes"][0] == pytest.approx(sum(genome) / 92)  # type: ignore[index]


def test_the_picture_of_weights_has_a_row_for_each_block(findings: Findings) -> None:
    (matrix,) = findings.matrices
    assert matrix.size == 276
    assert matrix.groups == ("model.embed_tokens", *(f"block.{k}" for k in range(30)), "lm_head")
    assert charts(findings)["genes-weight"].height < 600
    assert matrix.means["ja"].count(" to ") == 1


def test_learned_trials_are_marked(findings: Findings, runs: dict[str, Path]) -> None:
    assert findings.main is not None
    assert [point.number for point in findings.main.learned] == [12, 20]
    text = findings.main.by_number[12].name
    assert text.startswith("12, learned from trial ") and text.endswith(LESSON)
    assert [row["trial"] for row in trial_rows(findings) if row.get("lesson")] == [12, 20]
    assert "triangle-up" in json.dumps(charts(findings)["progress"].spec)
    page = Reader(rendered(runs["learned"]))
    assert "Weights were learned twice (trials 12 and 20) from 24 right answers, for 1,440 of" in page.text
    assert sum(text.endswith(LESSON) for text in page.texts) == 2
    assert "Each is the mean of its tensors. Mean (lowest to highest): ja " in page.text


def test_the_page_of_hundreds_of_genes_is_small(findings: Findings, runs: dict[str, Path]) -> None:
    page, other = (len(rendered(runs[name])) for name in ("learned", "better"))
    assert page < other + 100_000


def test_a_trial_of_hundreds_of_genes_is_shown_by_means(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with RunStore.read(runs["learned"]) as store:
        print_trial(read_trial(store, "12"))
    out = capsys.readouterr().out
    assert LESSON in out and "276 genes; mean, and lowest to highest:\n  weight/ja: " in out
    assert f"lines: kingyo recipe {runs['learned']} --trial 12" in out and len(out.splitlines()) < 20


def test_a_run_without_lessons_has_no_mark(runs: dict[str, Path]) -> None:
    with RunStore.read(runs["better"]) as store:
        others = read_findings(store)
    assert others.summary.learning is None
    assert "triangle-up" not in json.dumps(charts(others)["progress"].spec)
    assert "learned" not in Reader(rendered(runs["better"])).text

"""The parts of the report: wording, genes, history, answers."""

import json
from dataclasses import asdict, replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from kingyo.core.types import Evaluation, Item, ItemScore, Media, Trial
from kingyo.search.evolution import BASELINES
from kingyo.search.evolution.trial_recipes import new_trial
from kingyo.stats import Interval
from kingyo.store import RunStore
from kingyo.views.cards import small_image
from kingyo.views.page import page_view
from kingyo.views.results.genes import read_genes, read_matrices
from kingyo.views.results.model_result import PairedComparison, compare_on_test, read_model_result
from kingyo.views.results.trials import SHARES, Unit, p_text, sizes
from kingyo.views.run_data import read_run_data
from kingyo.views.statements import verdicts_in_words
from tests.fake_runs import begun, weights
from tests.tasks.pictures import media


def difference(low: float, high: float) -> PairedComparison:
    middle = Interval(score=(low + high) / 2, n=100, low=low, high=high)
    return PairedComparison(other="uniform", difference=middle, p=0.001, test="mcnemar")


def test_a_verdict_follows_the_interval() -> None:
    bounds = ((0.01, 0.2), (-0.2, -0.01), (-0.1, 0.2), (0.0, 0.2))
    assert [difference(*each).verdict for each in bounds] == ["better", "worse", "open", "open"]


@pytest.mark.parametrize(("images", "is_alike"), [((b"one", b"one"), True), ((b"one", b"other"), False)])
def test_image_models_are_alike_if_their_images_are_equal(
    tmp_path: Path, images: tuple[bytes, bytes], is_alike: bool
) -> None:
    item = Item(id="item", prompt="a fish", answer="")
    with begun(tmp_path / "run", {"test": [item]}) as store:
        store.add_search(BASELINES, {})
        for number, content in enumerate(images):
            new = new_trial(Trial(number=number, genome=()), weights(number, 1), f"m{number}")
            *_, trial = store.add_trials(BASELINES, 0, [new])
            score = ItemScore("item", 0.5, "", media=media(content))
            store.record(trial.id, "test", Evaluation(scores=(score,)))
        result, other = (read_model_result(store, str(each.name), each) for each in store.trials(BASELINES))
        (comparison,) = compare_on_test(store, result, [other])
    assert comparison.is_alike is is_alike


@pytest.mark.parametrize(
    ("better", "unclear", "worse", "line"),
    [
        ("a", "b", "c", "beats a, is worse than c and is not shown to beat b"),
        ("", "ab", "", "is not shown to beat a or b"),
        ("a", "b", "", "beats a but is not shown to beat b"),
        ("", "", "", "is tested; there is nothing to compare it with"),
    ],
)
def test_sentences_join_verdicts(better: str, unclear: str, worse: str, line: str) -> None:
    assert verdicts_in_words({"better": [*better], "open": [*unclear], "worse": [*worse]}) == line


def test_numbers_are_written_for_people() -> None:
    value = Interval(score=0.735, n=200, low=0.67, high=0.7921)
    assert SHARES.bounded(value) == "73.5% [67.0, 79.2]" and SHARES.bounded(None) == "–"
    assert SHARES.bounded_difference(difference(-0.0001, 0.0001).difference) == "+0.0 points [+0.0, +0.0]"
    assert SHARES.bounded_difference(difference(-0.2, -0.1).difference) == "−15.0 points [−20.0, −10.0]"
    assert (p_text(1e-9), p_text(0.0312)) == ("p < 0.001", "p = 0.031")
    net = Unit(measure="net")
    assert net.bounded(replace(value, low=-0.67)) == "0.735 [−0.67, 0.7921]"
    assert net.bounded_difference(difference(-0.2, 0.1).difference) == "−0.05 [−0.2, +0.1]"


@pytest.mark.parametrize(
    ("ns", "expected"),
    [((), "n = 20"), ((20, 20), "n = 20"), ((4, 4), "n = 4 of 20"), ((20, 4), "n = 4 to 20 of 20")],
)
def test_sizes(ns: tuple[int, ...], expected: str) -> None:
    assert sizes(ns, 20) == expected


def axes(*names: str) -> dict[str, object]:
    return {"axes": [{"name": name, "low": 0.0, "high": 1.0} for name in names]}


def test_genes_are_laid_out_by_source_and_group() -> None:
    names = ("weight/ja/block.0", "weight/ja/head", "weight/en/block.0", "lambda/all", "pass 1/ja.0")
    weight, scale = read_matrices(axes(*names), (0.1, 0.2, 0.3, 0.4, 1.0))
    assert (weight.sources, weight.groups) == (("ja", "en"), ("block.0", "head"))
    assert weight.genes == {("ja", "block.0"): (0.1,), ("ja", "head"): (0.2,), ("en", "block.0"): (0.3,)}
    assert (scale.sources, scale.groups) == (("all sources",), ("all",))
    assert read_matrices(axes("weight/ja/all"), ()) == ()


def test_the_gene_that_decides_comes_first() -> None:
    genomes = [((i * 7 % 40) / 40, i / 40) for i in range(40)]
    trials = [(genome, 1 - abs(genome[1] - 0.5)) for genome in genomes]
    assert [gene.places for gene in read_genes(axes("a", "b"), trials)] == [(1,), (0,)]
    few = [(genome, 0.5) for genome in genomes]
    for known in (trials[:5], few):
        assert [gene.places for gene in read_genes(axes("a", "b"), known)] == [(0,), (1,)]


def test_history_keeps_records(better: RunStore) -> None:
    main = read_run_data(better).main
    assert main is not None
    scores = [score for _, score in main.records]
    assert scores == sorted(set(scores))
    assert scores[-1] == max(score for _, score in main.scored)
    assert sum(main.failures.values()) == sum(each.score is None for each in main.points)


def test_contrast_counts_every_item_once(better: RunStore) -> None:
    data = read_run_data(better)
    contrast, winner = data.contrast, data.summary.winner
    assert contrast is not None and winner is not None and winner.test is not None
    assert len(contrast.gained) <= winner.test.score * contrast.n <= contrast.n - len(contrast.lost)
    assert "uniform" not in contrast.parents
    assert all(row.answers["bred"].score == 1.0 for row in contrast.gained)
    assert all(any(row.answers[name].score == 1.0 for name in contrast.parents) for row in contrast.lost)


def digest(file: Path) -> str:
    return sha256(file.read_bytes() if file.exists() else b"").hexdigest()


def test_large_images_are_thumbnails_and_lost_ones_have_no_content(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="needs the extra `vision`")
    small, broken, lost, large = (tmp_path / f"{name}.png" for name in "abcd")
    small.write_bytes(b"small")
    broken.write_bytes(bytes(40_000))
    noise = np.random.default_rng(0).integers(0, 256, (300, 800, 3), dtype=np.uint8)
    pillow.fromarray(noise).save(large)
    found = [
        small_image(Media(sha256=digest(file), type="image/png", path=file), 320)
        for file in (small, broken, lost, large)
    ]
    assert found[:3] == [("image/png", b"small"), ("image/png", b""), ("image/png", b"")]
    assert found[3][0] == "image/jpeg" and pillow.open(BytesIO(found[3][1])).size == (320, 120)


def test_an_answer_that_was_cut_is_marked(better: RunStore) -> None:
    pytest.importorskip("vl_convert", reason="the report needs kingyo[report]")
    from kingyo.views.page import render_page

    data = read_run_data(better)
    assert data.contrast is not None
    row = data.contrast.gained[0]
    answers = {name: each._replace(is_cut=name == "bred", answer="") for name, each in row.answers.items()}
    contrast = replace(data.contrast, gained=(replace(row, answers=answers),), lost=())
    page = render_page(page_view(replace(data, contrast=contrast))).decode()
    assert page.count("(cut)") == 1
    assert page.count("(nothing)") == len(answers)


def test_a_view_is_plain_data(better: RunStore) -> None:
    view = page_view(read_run_data(better))
    again = json.loads(json.dumps(asdict(view)))
    assert again["tables"]["scores"]["rows"][0][0]["text"].startswith("bred (trial ")
    assert {each["topic"] for each in again["statements"]} >= {"headline", "compared", "search"}
    assert again["charts"]["bars"]["spec"]["layer"]

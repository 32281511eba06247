"""Preference models: what they learn, how they are measured, and the grader that uses them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from kingyo.errors import KingyoError
from kingyo.models.vision.features import load_feature_net, load_preference
from kingyo.store import RunStore
from kingyo.tasks.graders import build_graders
from kingyo.views.rating.training import (
    ChoiceData,
    TrainingReport,
    fit_weights,
    folds,
    held_out_logits,
    train_preference,
)
from tests.rated_runs import brighter, drawn_run, rate, redder
from tests.tiny_judges import clip, item, picture


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run in which redder pictures were chosen, and a network."""
    folder = tmp_path_factory.mktemp("world")
    rate(drawn_run(folder / "run"), 90, redder)
    clip(folder / "net")
    trained(folder / "run", folder / "red.safetensors", folder / "net")
    return folder


def trained(run: Path, out: Path, net: Path) -> TrainingReport:
    with RunStore.read(run) as store:
        return train_preference(store, out, str(net))


def test_it_predicts_choices_that_depend_on_the_picture(world: Path, tmp_path: Path) -> None:
    report = trained(world / "run", tmp_path / "red.safetensors", world / "net")
    assert (report.choices, report.as_good, report.prompts, report.raters) == (90, 0, 6, 1)
    assert report.accuracy.score > 0.8 and report.accuracy.low > 0.5 and report.accuracy.n == 90
    assert report.better_model.score < 0.7 and report.gain.score > 0.2
    assert "net" in next(report.lines()) and "Warning" not in "".join(report.lines())
    with safe_open(tmp_path / "red.safetensors", "numpy") as file:
        facts = json.loads(file.metadata()["training"])
    assert facts["accuracy"]["score"] == report.accuracy.score and facts["run"] == "pics"
    assert facts["choices"] == 90 and facts["chance"] == 0.5


def test_choices_that_depend_on_the_model_are_predicted_by_the_model(world: Path, tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run")
    rate(run, 60, brighter)
    report = trained(run, tmp_path / "bright.safetensors", world / "net")
    assert report.better_model.score > 0.9 and report.accuracy.score > 0.8


def test_random_choices_are_not_predicted(world: Path, tmp_path: Path) -> None:
    run, dice = drawn_run(tmp_path / "run"), np.random.default_rng(1)
    rate(run, 80, lambda _: "left" if dice.random() < 0.5 else "right")
    report = trained(run, tmp_path / "none.safetensors", world / "net")
    assert report.accuracy.low <= 0.5 and "Warning" in "".join(report.lines())


RED, BLUE = picture((200, 90, 40)), picture((40, 90, 200))


def graded(folder: Path, option: object) -> list[float]:
    mix = build_graders([("preference", option)], folder, "images")
    mix.check([item()])
    return mix.grade([RED, BLUE], [item(), item()])


def test_the_grader_scores_the_chance_of_being_preferred(world: Path) -> None:
    scores = graded(world, "red.safetensors")
    assert scores[0] > 0.5 > scores[1]
    model, net = load_preference(world / "red.safetensors")
    tensors = load_file(world / "red.safetensors")
    (vector,) = net.vectors([RED])
    logit = ((vector - tensors["mean"]) / tensors["scale"]) @ tensors["weights"]
    assert scores[0] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-5)
    assert model.probabilities(net, []) == []


def test_the_grader_refuses_another_network(world: Path, tmp_path: Path) -> None:
    clip(tmp_path / "other", seed=1)
    with pytest.raises(KingyoError) as error:
        graded(tmp_path, {"model": str(world / "red.safetensors"), "features": "other"})
    assert "red.safetensors" in error.value.argument and "other" in error.value.received


@pytest.mark.parametrize("content", ["nothing", "another", "infinite"])
def test_the_grader_refuses_other_files(world: Path, tmp_path: Path, content: str) -> None:
    file = tmp_path / "it.safetensors"
    tensors = load_file(world / "red.safetensors")
    with safe_open(world / "red.safetensors", "numpy") as original:
        facts = original.metadata()
    if content == "nothing":
        file.write_bytes(b"nothing")
    elif content == "another":
        save_file(tensors, file, {**facts, "format": "else"})
    else:
        save_file({**tensors, "weights": tensors["weights"] * np.inf}, file, facts)
    with pytest.raises(KingyoError) as error:
        graded(tmp_path, file.name)
    assert error.value.argument == str(file)


def test_choices_on_test_are_never_learned_from(world: Path, tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run")
    rate(run, 40, redder, split="test")
    with pytest.raises(KingyoError) as error:
        trained(run, tmp_path / "it.safetensors", world / "net")
    assert "0 choices" in error.value.received and not (tmp_path / "it.safetensors").exists()
    rate(run, 40, redder)
    rate(run, 10, redder, split="fit")
    report = trained(run, tmp_path / "it.safetensors", world / "net")
    assert report.choices == 50


def test_few_choices_and_other_names_are_refused(world: Path, tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run")
    rate(run, 19, redder)
    for out, argument in (("it.safetensors", "--train"), ("it.bin", "--train")):
        with pytest.raises(KingyoError) as error:
            trained(run, tmp_path / out, world / "net")
        assert error.value.argument == argument


def drawn(seed: int, n: int, width: int) -> ChoiceData:
    dice = np.random.default_rng(seed)
    rows = dice.normal(size=(n, width))
    truth = np.zeros(width)
    truth[:2] = 1.5, -1.5
    scores = (dice.random(n) < 1 / (1 + np.exp(-rows @ truth))).astype(float)
    return ChoiceData(differences=rows, scores=scores, groups=[f"p{k % 20}" for k in range(n)])


@pytest.mark.parametrize("width", [5, 200])
def test_weights_are_those_of_scikit_learn(width: int) -> None:
    linear: Any = pytest.importorskip("sklearn.linear_model")
    data = drawn(0, 120, width)
    weights, penalty = fit_weights(data)
    peer = linear.LogisticRegression(C=1 / penalty, fit_intercept=False, tol=1e-10, max_iter=10_000)
    expected = peer.fit(data.differences, data.scores).coef_[0]
    assert weights == pytest.approx(expected, abs=2e-4)


def test_sides_do_not_matter() -> None:
    data = drawn(1, 80, 6)
    turned = ChoiceData(differences=-data.differences, scores=1 - data.scores, groups=data.groups)
    assert fit_weights(turned)[0] == pytest.approx(fit_weights(data)[0], abs=1e-5)


def test_prompts_are_never_on_both_sides() -> None:
    groups = [f"p{n % 7}" for n in range(50)]
    tested: list[int] = []
    for train, held_out in folds(groups, 5):
        assert not {groups[k] for k in train} & {groups[k] for k in held_out}
        tested += held_out.tolist()
    assert sorted(tested) == list(range(50))


def test_held_out_accuracy_of_noise_is_chance() -> None:
    """Many features and few choices: accuracy on the training set would be 1."""
    dice = np.random.default_rng(0)
    hits: list[bool] = []
    for seed in range(8):
        data = drawn(seed, 60, 80)
        noise = ChoiceData(
            differences=data.differences, scores=dice.integers(0, 2, 60).astype(float), groups=data.groups
        )
        hits += ((held_out_logits(noise) > 0) == (noise.scores > 0.5)).tolist()
    assert abs(np.mean(hits) - 0.5) < 0.1


def test_default_network_describes_pictures() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    assert load_feature_net("efficientnet-lite0").vectors([RED]).shape == (1, 1280)

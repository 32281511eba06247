"""Learned weights: gradients of real models equal finite differences, and learning finds useful weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kingyo.checkpoints import open_checkpoint
from kingyo.checkpoints.layout import Layout
from kingyo.engine import Sources
from kingyo.methods import METHODS
from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel
from kingyo.run.learning import Descent, WeightLearner
from kingyo.runners.evaluate import InPlaceMerger
from kingyo.space import ParameterSpace
from kingyo.types import Example
from tests.models_on_disk import family

EXAMPLES = [
    Example(item="0", prompt="What is big?", answer=" a house"),
    Example(item="1", prompt="Choose:", answer=" yes", others=(" no", " maybe not")),
]


def learner(folder: Path, method: str, groups: str) -> tuple[WeightLearner, ParameterSpace]:
    models = {name: open_checkpoint(str(folder / name)) for name in ("base", "source-0", "source-1")}
    space = ParameterSpace(
        method=METHODS.get(method),
        method_name=method,
        sources={name: models[name].reference for name in ("source-0", "source-1")},
        base=models["base"].reference,
        layout=Layout(list(models["base"].tensors)),
        groups=groups,
    )
    sources = Sources({each.reference: each for each in models.values()}, folder)
    live = LiveModel.load(folder / "base", LoadOptions(dtype="float32"))
    return WeightLearner(space, space.decode, InPlaceMerger(live, sources)), space


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    family(root, "llama", sources=2, dtype="float32")
    return root


@pytest.mark.parametrize("groups", ["one", "block", "block+kind", "tensor"])
def test_gradients_by_genes_equal_finite_differences(folder: Path, groups: str) -> None:
    learns, space = learner(folder, "task_arithmetic", groups)
    genome = np.linspace(0.2, 0.8, len(space.axes))
    _, gradient = learns.loss(tuple(genome.tolist()), EXAMPLES)
    largest = np.argsort(-np.abs(gradient))[:4]
    for gene in largest:
        step = np.zeros_like(genome)
        step[gene] = 0.05
        ends = [learns.loss(tuple((genome + sign * step).tolist()), EXAMPLES)[0] for sign in (1, -1)]
        assert gradient[gene] == pytest.approx((ends[0] - ends[1]) / 0.1, rel=2e-2)
    assert np.isfinite(gradient).all()


def test_learning_lowers_the_loss_within_the_bounds(folder: Path) -> None:
    learns, space = learner(folder, "task_arithmetic", "block")
    start = tuple(0.5 for _ in space.axes)
    found, losses = learns.improve(start, EXAMPLES, Descent(steps=8, rate=0.1))
    assert losses[-1] < losses[0]
    assert learns.loss(found, EXAMPLES)[0] < learns.loss(start, EXAMPLES)[0]
    assert all(axis.low <= gene <= axis.high for axis, gene in zip(space.axes, found, strict=True))
    assert found == learns.improve(start, EXAMPLES, Descent(steps=8, rate=0.1))[0]


def test_few_examples_keep_the_weights_of_a_source_together(folder: Path) -> None:
    learns, space = learner(folder, "task_arithmetic", "tensor")
    start = tuple(0.5 for _ in space.axes)
    own = [place for place, axis in enumerate(space.axes) if axis.family == space.axes[0].family]
    assert 1 < len(own) < len(start)

    def spread(examples: list[Example]) -> float:
        found, _ = learns.improve(start, examples, Descent(steps=12))
        return float(np.std([found[place] for place in own]))

    assert spread(EXAMPLES) < 0.9 * spread(EXAMPLES * 100)

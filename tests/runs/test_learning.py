"""Learned weights: gradients of real models equal finite differences, and learning finds useful weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kingyo.core.types import Evaluation, Example, Genome, Item, ItemScore, Trial
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.checkpoints.layout import Layout
from kingyo.merging.engine import Sources
from kingyo.merging.methods import METHODS
from kingyo.merging.recipe import Recipe, Source
from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel, load_text
from kingyo.models.vision_language import LiveVisionLanguageModel
from kingyo.runs.learning import (
    BATCH_SIZE,
    LEAST_GAIN,
    LEAST_GAIN_OF_FOUND,
    PLATEAU,
    Allowance,
    Descent,
    WeightLearner,
    worthwhile_gain,
)
from kingyo.search.evolution import MAIN
from kingyo.search.evolution.trial_recipes import new_trial
from kingyo.search.runners.evaluate import InPlaceMerger
from kingyo.search.space import ParameterSpace
from kingyo.store import RunStore
from kingyo.tasks import build_task, examples_of
from kingyo.tasks.spec import TaskSpec
from tests.models.classifiers import picture
from tests.models.vision_families import build, build_text
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


def check_gradient(learns: WeightLearner, n_genes: int, examples: list[Example], width: float) -> None:
    """Compare the four largest derivatives with differences over ``width`` on both sides."""
    genome = np.linspace(0.2, 0.8, n_genes)
    _, gradient = learns.loss(tuple(genome.tolist()), examples)
    assert np.isfinite(gradient).all()
    for gene in np.argsort(-np.abs(gradient))[:4]:
        step = np.zeros_like(genome)
        step[gene] = width
        ends = [learns.loss(tuple((genome + sign * step).tolist()), examples)[0] for sign in (1, -1)]
        assert gradient[gene] == pytest.approx((ends[0] - ends[1]) / (2 * width), rel=2e-2)


@pytest.mark.parametrize("groups", ["one", "block", "block+kind", "tensor"])
def test_gradients_by_genes_equal_finite_differences(folder: Path, groups: str) -> None:
    learns, space = learner(folder, "task_arithmetic", groups)
    check_gradient(learns, len(space.axes), EXAMPLES, 0.05)


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


def test_examples_that_the_context_has_no_room_for_are_left_out(folder: Path) -> None:
    live = LiveModel.load(folder / "base", LoadOptions(dtype="float32"))
    long = "yes " * 5000
    items = [
        Item(id=str(n), prompt="Say yes", answer=answer) for n, answer in enumerate(["yes", long, "yes"])
    ]
    spec = TaskSpec.model_validate({"data": "none.jsonl", "chat": False, "grader": {"contains": {}}})
    task = build_task(spec, {"fit": tuple(items), "validation": (), "test": ()}, folder)
    for model in (live, load_text(folder / "base")):
        examples = examples_of(task, model, items, {}, prefers_given=False)
        assert [example.item for example in examples] == ["0", "2"]


@pytest.mark.parametrize(
    ("budget", "seconds", "steps"),
    [
        (9600, None, 40),  # as many as a lesson may have
        (960, None, 13),  # a third of the budget, at 24 item evaluations a step
        (9600, 480.0, 6),  # at a second each: 480, of which the last four candidates keep 128
        (None, 960.0, 13),
        (100, None, 0),
    ],
)
def test_a_lesson_costs_at_most_a_third_of_the_budget_or_of_the_time(
    tmp_path: Path, budget: int | None, seconds: float | None, steps: int
) -> None:
    items = tuple(Item(id=str(number), prompt="?", answer="") for number in range(32))
    scores = tuple(ItemScore(item.id, 0.0, "") for item in items)
    recipe = Recipe(merge_method="linear", sources=(Source(model="m"),))
    with RunStore.create(tmp_path / "run") as store:
        store.begin({}, {"fit": items, "validation": (), "test": ()})
        store.add_search(MAIN, {})
        (trial,) = store.add_trials(MAIN, 0, [new_trial(Trial(number=0, genome=()), recipe)])
        store.record(trial.id, "fit", Evaluation(scores=scores, score_seconds=32.0))
        allowance = Allowance(search=MAIN, budget=budget, seconds=seconds, most_items=32)
        assert allowance.steps(store, BATCH_SIZE) == steps
        assert allowance.is_enough is (budget is None or budget > 100)


def test_answers_that_models_found_are_learned_once_the_search_stands_still() -> None:
    trials = [(float(i),) for i in range(PLATEAU + 2)]
    assert worthwhile_gain(trials, trials[0], are_found=True) == LEAST_GAIN
    assert worthwhile_gain(trials, trials[-1], are_found=True) == LEAST_GAIN_OF_FOUND
    assert worthwhile_gain(trials, trials[-1], are_found=False) == LEAST_GAIN
    assert worthwhile_gain(trials[:6], (9.0,), are_found=True) == LEAST_GAIN_OF_FOUND, "a search that begins"
    assert worthwhile_gain(trials, (99.0,), are_found=True) == LEAST_GAIN, "none is better than the start"


IMAGES = [picture((40 * n, 200, 9), size=20 + 4 * n) for n in range(3)]


@pytest.mark.parametrize("merges_vision", [False, True])
def test_gradients_of_merges_into_models_that_see(tmp_path: Path, merges_vision: bool) -> None:
    see = build("llava", tmp_path / "see", seed=3)
    others = [
        build("llava", tmp_path / str(n), seed=n)
        if merges_vision
        else build_text("llava", tmp_path / str(n), seed=n)
        for n in range(2)
    ]
    models = [open_checkpoint(str(each)) for each in (see, *others)]
    frame, sources = models[0].reference, {str(n): each.reference for n, each in enumerate(models[1:])}
    layout = models[0].layout
    names = [name for name in layout.names if merges_vision or layout.part(name) == "language"]
    space = ParameterSpace(
        method=METHODS.get("linear"),
        method_name="linear",
        sources={"see": frame, **sources},
        base=None,
        layout=Layout(names, models[0].config),
        groups="block",
    )

    def decode(genome: Genome) -> Recipe:
        return space.decode(genome) if merges_vision else replace(space.decode(genome), frame=frame)

    live = LiveVisionLanguageModel.load(see, LoadOptions(dtype="float32"))
    opened = Sources({each.reference: each for each in models}, tmp_path)
    learns = WeightLearner(space, decode, InPlaceMerger(live, opened))
    prompts = [live.image_prompt("what is red?", IMAGES[n : n + 2], chat=True) for n in range(2)]
    examples = [
        Example(item="0", prompt=prompts[0].text, images=prompts[0].images, answer="a red mat"),
        Example(
            item="1", prompt=prompts[1].text, images=prompts[1].images, answer="red", others=("the cat",)
        ),
    ]
    check_gradient(learns, len(space.axes), examples, 0.02)
    genome = tuple(0.5 for _ in space.axes)
    assert np.count_nonzero(learns.loss(genome, examples)[1]) > len(space.axes) / 2
    encoded = live.n_encoded
    learns.loss(genome, examples)
    assert (live.n_encoded > encoded) == merges_vision

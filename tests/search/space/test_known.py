"""Known points: their recipes give exactly the weights of the parents, and of the uniform merge."""

from pathlib import Path

import pytest
import torch

from kingyo.merging.checkpoints import Checkpoint, open_checkpoint
from kingyo.merging.engine import Sources, compute, plan
from kingyo.merging.methods import METHODS
from kingyo.merging.recipe import Recipe
from kingyo.search.space import Bounds, ParameterSpace, parent_recipe, uniform_recipe
from tests.models_on_disk import family

NAMES = ("a", "b", "c")
WEIGHT = Bounds(low=0, high=1.5)
DENSITY = Bounds(low=0.1, high=1)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    base, sources = family(tmp_path_factory.mktemp("models"), sources=3)
    folders = dict(zip(("base", *NAMES), (base, *sources), strict=True))
    return {name: open_checkpoint(str(folder)) for name, folder in folders.items()}


def space(
    models: dict[str, Checkpoint], method: str, groups: str = "one", **values: float | bool | Bounds
) -> ParameterSpace:
    return ParameterSpace(
        method=METHODS.get(method),
        method_name=method,
        sources={name: models[name].reference for name in NAMES},
        base=models["base"].reference,
        layout=models["base"].layout,
        groups=groups,
        values=values,
        seed=7,
    )


def tensors(recipe: Recipe, models: dict[str, Checkpoint]) -> dict[str, torch.Tensor]:
    sources = Sources({each.reference: each for each in models.values()}, Path())
    return {job.name: compute(job, sources.read) for job in plan(recipe, sources).jobs}


@pytest.mark.parametrize(
    ("method", "groups", "values", "known"),
    [
        ("task_arithmetic", "one", {}, (*NAMES, "uniform")),
        ("task_arithmetic", "block", {}, (*NAMES, "uniform")),
        ("task_arithmetic", "kind", {"lambda": 1.0}, (*NAMES, "uniform")),
        ("singular_bands", "one", {}, (*NAMES, "uniform")),
        ("singular_bands", "block", {"rest": WEIGHT, "middle": 1.0}, (*NAMES, "uniform")),
        ("linear", "one", {}, (*NAMES, "uniform")),
        ("linear", "block", {"normalize": False}, (*NAMES, "uniform")),
        ("ties", "one", {"density": DENSITY}, NAMES),
        ("ties", "block", {"density": 1.0}, NAMES),
        ("ties", "one", {"density": 1.0, "normalize": False}, NAMES),
        ("dare_ties", "one", {"density": DENSITY}, NAMES),
        ("dare_ties", "block", {"density": DENSITY}, NAMES),
        ("dare_linear", "one", {"density": DENSITY}, NAMES),
    ],
)
def test_a_known_point_has_the_weights_of_its_model(
    models: dict[str, Checkpoint],
    method: str,
    groups: str,
    values: dict[str, float | bool | Bounds],
    known: tuple[str, ...],
) -> None:
    searched = space(models, method, groups, **{"weight": WEIGHT, **values})
    points = searched.known_points()
    assert set(points) == set(known)
    references = {name: models[name].reference for name in NAMES}
    for name, genome in points.items():
        expected = (
            uniform_recipe(references, None, None)
            if name == "uniform"
            else parent_recipe(references[name], None)
        )
        result, model = tensors(searched.decode(genome), models), tensors(expected, models)
        assert result.keys() == model.keys()
        for tensor, values_of_it in model.items():
            torch.testing.assert_close(result[tensor], values_of_it, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("task_arithmetic", {"lambda": 0.5}),
        ("task_arithmetic", {"lambda": Bounds(low=0, high=2)}),
        ("ties", {"density": 0.5}),
        ("ties", {"density": DENSITY, "weight": 0.5}),
        ("dare_ties", {"density": DENSITY, "lambda": 0.9}),
        ("singular_bands", {"top": 0.5}),
        ("singular_bands", {"weight": 1.0}),
        ("della", {}),
        ("slerp", {}),
    ],
)
def test_known_points_are_empty_if_no_point_is_a_model(
    models: dict[str, Checkpoint], method: str, values: dict[str, float | bool | Bounds]
) -> None:
    parameters = {"weight": WEIGHT, **values} if method not in ("della", "slerp") else values
    assert space(models, method, **parameters).known_points() == {}


def test_points_beyond_the_bounds_are_left_out(models: dict[str, Checkpoint]) -> None:
    known = space(models, "task_arithmetic", weight=Bounds(low=0, high=0.9)).known_points()
    assert set(known) == {"uniform"}
    assert space(models, "task_arithmetic", weight=Bounds(low=0.5, high=1)).known_points() == {}

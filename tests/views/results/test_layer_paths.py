"""A path as text and as data."""

from kingyo.merging.recipe import Hop, Recipe
from kingyo.views.results.genes import NamedPath, named_path

NAMES, LAYERS = {"/z/ja": "ja", "/z/en": "math-en"}, {"ja": 6, "math-en": 4}


def read(*hops: tuple[str, int, float], base: str | None = "/z/ja") -> NamedPath:
    path = tuple(Hop(model=model, layer=layer, scale=scale) for model, layer, scale in hops)
    path_ = named_path(Recipe(merge_method="passthrough", path=path, base_model=base), NAMES, LAYERS)
    assert path_ is not None
    return path_


def own(model: str, *layers: int) -> list[tuple[str, int, float]]:
    return [(model, layer, 1.0) for layer in layers]


def test_consecutive_layers_are_a_range() -> None:
    path = read(*own("/z/ja", 0, 1, 2, 3), ("/z/en", 2, 0.84), ("/z/en", 3, 0.84), *own("/z/ja", 5))
    assert path.line == "ja 0-3 · math-en 2-3 (x0.84) · ja 5"
    assert path.ends == "embeddings, norm and head of ja"


def test_scales_that_differ_stand_one_by_one() -> None:
    path = read(("/z/ja", 0, 1.25), ("/z/ja", 1, 1.0), ("/z/ja", 1, 0.5))
    assert path.line == "ja 0-1 (x1.25, x1) · ja 1 (x0.5)"
    assert [step.time for step in path.steps] == [1, 1, 2]
    assert [step.cumulative for step in path.steps] == [1.25, 1.25, 0.625]


def test_without_a_base_the_first_and_the_last_model_give_the_ends() -> None:
    path = read(*own("/z/ja", 0), *own("/z/en", 3), base=None)
    assert path.ends == "embeddings of ja, norm and head of math-en"


def test_a_model_that_the_run_does_not_name_is_called_by_the_end_of_its_reference() -> None:
    path = read(*own("/z/ja", 0), *own("/elsewhere/merged/", 7))
    assert path.line == "ja 0 · merged 7"
    assert path.layers == {"ja": 6, "math-en": 4, "merged": 8}


def test_as_data() -> None:
    path = read(*own("/z/ja", 0), ("/z/en", 3, 0.5))
    assert path.to_json() == {
        "text": "ja 0 · math-en 3 (x0.5)",
        "embeddings": "ja",
        "head": "ja",
        "layers": {"ja": 6, "math-en": 4},
        "hops": [
            {"model": "ja", "layer": 0, "scale": 1.0, "cumulative": 1.0, "time": 1},
            {"model": "math-en", "layer": 3, "scale": 0.5, "cumulative": 0.5, "time": 1},
        ],
    }

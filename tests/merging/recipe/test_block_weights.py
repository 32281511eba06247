"""Merge block weights as text: forms, identity, YAML, and mistakes."""

from __future__ import annotations

import pytest

from kingyo.errors import KingyoError
from kingyo.merging.recipe import BlockWeights, Recipe
from kingyo.merging.recipe.values import SD1, SDXL
from tests.merging.recipe.mistakes import mistakes

SMALL = ("BASE", "IN00", "IN01", "M00", "OUT00", "OUT01")
FLUX = ("IN", *(f"D{i:02}" for i in range(19)), *(f"S{i:02}" for i in range(38)), "OUT")


@pytest.mark.parametrize(
    "text",
    [
        "0.5,0,0.1,1,-0.25,1e-2",
        " 0.5, 0,\n0.1, 1,\n-0.25, .01,",
        "HALF\t0.5,0,0.1,1,-0.25,0.01",
        "IN/2*: 0.5,0,0.1,1,-0.25,0.01",
        "IN_2,0.5,0,0.1,1,-0.25,0.01",
        "preset_name\tpreset_weights\nHALF\t0.5,0,0.1,1,-0.25,0.01\n",
    ],
)
def test_forms_of_the_text(text: str) -> None:
    numbers = BlockWeights(mbw=text).by_block(SMALL)
    assert list(numbers) == list(SMALL)
    assert list(numbers.values()) == [0.5, 0.0, 0.1, 1.0, -0.25, 0.01]


def counting(n: int) -> BlockWeights:
    return BlockWeights(mbw=",".join(map(str, range(n))))


def test_blocks_of_known_models() -> None:
    assert (len(SD1), len(SDXL), len(FLUX)) == (26, 20, 59)
    assert counting(26).by_block(SD1)["OUT11"] == 25
    assert counting(20).by_block(SDXL) == counting(21).by_block(SDXL)  # the last is for the VAE
    assert counting(61).by_block(FLUX) == {block: i + 2 for i, block in enumerate(FLUX)}  # after CLIP and T5


def test_sdxl_takes_the_blocks_that_it_has_from_texts_for_sd1() -> None:
    numbers = counting(26).by_block(SDXL)
    assert numbers["IN08"] == 9 and numbers["M00"] == 13 and numbers["OUT08"] == 22


@pytest.mark.parametrize(
    ("n", "blocks"), [(25, SD1), (27, SD1), (20, SD1), (19, SDXL), (26, SMALL), (7, FLUX)]
)
def test_other_counts_are_an_error(n: int, blocks: tuple[str, ...]) -> None:
    with pytest.raises(KingyoError) as error:
        counting(n).by_block(blocks)
    assert error.value.received == str(n) and str(len(blocks)) in (error.value.expected or "")


def recipe(weight: object) -> dict[str, object]:
    models = [{"model": "b", "parameters": {"weight": weight}}]
    return {"merge_method": "task_arithmetic", "base_model": "a", "models": models}


def test_a_recipe_keeps_the_text() -> None:
    data = recipe({"mbw": "HALF:0,1,0.5"})
    first = Recipe.from_dict(data)
    assert first.to_dict() == data and Recipe.from_dict(first.to_dict()) == first
    assert first.hash != Recipe.from_dict(recipe({"mbw": "HALF:0,1,0.25"})).hash


@pytest.mark.parametrize(
    ("weight", "received"),
    [
        ({"mbw": "0,1,x"}, "'x'"),
        ({"mbw": "R,0,1,U"}, "'U'"),
        ({"mbw": "A:0,1\nB:1,0"}, "'B:1'"),
        ({"mbw": "0,,1"}, "none"),
        ({"mbw": "0,nan"}, "'nan'"),
        ({"mbw": "GRAD_V"}, "'GRAD_V'"),
        ({"mbw": ""}, "none"),
        ({"mbw": "0,1", "filter": "attn"}, "'filter'"),
    ],
)
def test_mistakes(weight: object, received: str) -> None:
    ((where, found),) = mistakes(lambda: Recipe.from_dict(recipe(weight), "r.yaml"), "r.yaml")
    assert where.startswith("models[0].parameters.weight") and found == received

"""Made-up runs, written once for all tests of the report."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kingyo.store import RunStore
from tests.views.browser import CHROMIUM, Browser
from tests.views.made_up_run import Shape, write

PAIR = tuple(f"block.{k}" for k in range(6))  # layers of each of two sources
TENSORS = (
    "model.embed_tokens.weight",
    *(f"model.layers.{k}.{kind}.weight" for k in range(30) for kind in ("q_proj", "down_proj", "norm")),
    "lm_head.weight",
)
SHAPES = {
    "better": Shape(trials=60, items=120),
    "worse": Shape(strategy="cma-es", groups=("all",), trials=40, items=120, reach=0.2),
    "searching": Shape(trials=30, stop="search"),
    "picked": Shape(trials=30, stop="picked", controls=False),
    "front": Shape(trials=60, groups=("all",), objectives=("sums", "closeness", "few_sources")),
    "screened": Shape(trials=60, items=120, asked=16),
    "learned": Shape(
        strategy="memetic",
        trials=30,
        items=120,
        groups=TENSORS,
        sources=("ja", "math-en", "math-sym"),
        lessons=(12, 20),
        batch=4,
        controls=False,
    ),
    "paths": Shape(trials=60, groups=PAIR, sources=("ja", "math-en"), paths=True),
    "empty": Shape(trials=0, stop="search"),
}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: write(folder / name, shape) for name, shape in SHAPES.items()}


@pytest.fixture
def better(runs: dict[str, Path]) -> RunStore:
    return RunStore.read(runs["better"])


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with Browser() as opened:
        yield opened

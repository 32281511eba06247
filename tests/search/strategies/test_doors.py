"""What strategies refuse at their door, and how they are found by name."""

import dataclasses
import doctest
import importlib
import math
from pathlib import Path

import pytest

from kingyo.cli.listing import strategies
from kingyo.core.types import Axis, Strategy
from kingyo.errors import KingyoError
from kingyo.search.strategies import STRATEGIES, build
from kingyo.search.strategies.presets import PRESETS, preset
from kingyo.testing.strategies import FLOAT_AXES, MIXED_AXES

NAMES = STRATEGIES.names()


@pytest.mark.parametrize("module", ["", ".pareto"])
def test_examples_in_docstrings(module: str) -> None:
    results = doctest.testmod(importlib.import_module(f"kingyo.search.strategies{module}"))
    assert results.attempted and not results.failed


@pytest.mark.parametrize("name", NAMES)
def test_axes_and_seeds_that_make_no_sense_are_named(name: str) -> None:
    for low, high in ((1, 1), (1, 0), (0, math.inf), (math.nan, 1)):
        with pytest.raises(KingyoError) as error:
            build(name, [FLOAT_AXES[0], Axis(name="odd", low=low, high=high)], 0, {})
        assert error.value.argument == "axis odd"
    with pytest.raises(KingyoError, match="at least one axis"):
        build(name, [], 0, {})
    with pytest.raises(KingyoError, match="axis density: expected a unique name; received 2 of them"):
        build(name, [FLOAT_AXES[2], FLOAT_AXES[2]], 0, {})
    with pytest.raises(KingyoError, match="seed"):
        build(name, FLOAT_AXES, -1, {})


@pytest.mark.parametrize(
    ("name", "options", "argument"),
    [
        ("ga", {"population": 1}, "search.settings: population"),
        ("ga", {"populaton": 5}, "search.settings"),
        ("ga", {"selection": "lottery"}, "search.settings: selection"),
        ("ga", {"elites": 21}, "elites"),
        ("cma-es", {"sigma": math.nan}, "search.settings: sigma"),
        ("sep-cma-es", {"population": 3}, "search.settings: population"),
        ("cycleqd", {"low": 1.0}, "high"),
        ("cycleqd", {"alpha_low": 0.9}, "alpha_high"),
        ("memetic", {"strategy": "gaa"}, "search.settings: strategy"),
        (
            "memetic",
            {"strategy": "ga", "settings": {"population": 1}},
            "search.settings.settings: population",
        ),
        ("coarse-to-fine", {"strategy": "memetic"}, "strategy"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(name: str, options: dict[str, object], argument: str) -> None:
    with pytest.raises(KingyoError) as error:
        build(name, FLOAT_AXES, 0, options)
    assert error.value.argument == argument


@pytest.mark.parametrize("name", ["cma-es", "sep-cma-es"])
def test_a_kind_of_axis_that_is_not_supported_is_named(name: str) -> None:
    with pytest.raises(KingyoError, match=r"axis layers.*float.*int.*'mixed-cma-es' or 'ga'"):
        build(name, MIXED_AXES, 0, {})


def test_every_option_has_a_default_and_a_description() -> None:
    for listing in strategies():
        for option in listing.options:
            assert len(option.partition("): ")[2]) > 5, f"{listing.name}: {option}"
        settings = STRATEGIES.get(listing.name).Settings
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(settings(), next(iter(vars(settings()))), None)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(KingyoError, match="cma-es"):
        build("cmaes", FLOAT_AXES, 0, {})
    with pytest.raises(KingyoError, match="sakana-ps"):
        preset("sakana")


OWN = """
from __future__ import annotations
from dataclasses import dataclass
from kingyo.search.strategies.random_and_grid import RandomSearch
class Bare:
    pass
class Mine(RandomSearch):
    @dataclass(frozen=True, kw_only=True)
    class Settings(RandomSearch.Settings):
        pass
class Broken(Mine):
"""


def test_a_strategy_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN + "    pass\n")
    strategy = build("own.py:Mine", FLOAT_AXES, 0, {"batch": 3}, tmp_path)
    assert isinstance(strategy, Strategy) and strategy.batch == 3
    with pytest.raises(KingyoError, match="nested dataclass Settings"):
        build("own.py:Bare", FLOAT_AXES, 0, {}, tmp_path)


@pytest.mark.parametrize(
    ("body", "expected", "received"),
    [
        ("ask = None", "a method `ask`", "none"),
        ("batch = 2.5", "`batch`", "2.5"),
        ("batch = True", "`batch`", "True"),
        ("size = 'x'", "`size`", "'x'"),
        ("@property\ndef batch(self): raise KeyError('lost')", "can be built", "KeyError: 'lost' ("),
        ("def __init__(self): pass", "can be built", "TypeError"),
        ("def __init__(self, *a): raise SystemExit(3)", "can be built", "SystemExit: 3"),
        ("class Settings: pass", "nested dataclass Settings", "Broken"),
    ],
    ids=str,
)
def test_a_broken_strategy_is_reported(tmp_path: Path, body: str, expected: str, received: str) -> None:
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    (tmp_path / "own.py").write_text(OWN + indented)
    with pytest.raises(KingyoError) as error:
        build("own.py:Broken", FLOAT_AXES, 0, {}, tmp_path)
    assert error.value.argument == "strategy own.py:Broken"
    assert expected in error.value.expected and received in error.value.received
    assert "kingyo.testing.strategies" in error.value.remedy


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_make_strategies(name: str) -> None:
    chosen = preset(name)
    assert chosen.name == name and chosen.doc and chosen.source
    strategy = build(chosen.strategy, FLOAT_AXES, 0, chosen.settings)
    assert len(strategy.ask(strategy.batch)) == strategy.batch


def test_sakana_ps_is_the_published_setting() -> None:
    chosen = preset("sakana-ps")
    six = [Axis(name=f"{kind}/{source}", low=0, high=1) for kind in "wd" for source in "abc"]
    assert build(chosen.strategy, six, 0, chosen.settings).batch == 9  # 4 + floor(3 ln 6)
    assert (chosen.settings["x0"], chosen.settings["sigma"]) == (0.5, 1 / 6)
    assert chosen.merge is not None
    assert (chosen.merge.method, chosen.merge.groups) == ("dare_ties", "one")
    assert chosen.merge.bounds == {"weight": (0, 1), "density": (0, 1)}


def test_presets_of_denoisers_are_the_published_merges() -> None:
    published, ukiyoe, blocks = (preset(name).merge for name in ("evosdxl-jp", "evo-ukiyoe", "mbw"))
    assert published is not None and ukiyoe is not None and blocks is not None
    assert (published.method, published.groups, published.lora) == ("linear", "conv+attn", None)
    assert (ukiyoe.method, ukiyoe.groups, ukiyoe.lora) == ("task_arithmetic", "conv+attn", (0.0, 1.5, 1.0))
    assert (blocks.method, blocks.groups) == ("task_arithmetic", "mbw")

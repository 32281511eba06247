"""What strategies refuse at their door, and how they are found by name."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from kingyo.errors import KingyoError
from kingyo.strategies import STRATEGIES, build
from kingyo.strategies.presets import PRESETS, preset
from kingyo.testing.strategies import FLOAT_AXES, MIXED_AXES
from kingyo.types import Axis, Strategy

NAMES = [name for name in STRATEGIES.names() if name != "tpe"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("axis", "message"),
    [
        (Axis(name="fixed", low=1, high=1), "axis fixed: expected low < high"),
        (Axis(name="upside", low=1, high=0), "axis upside: expected low < high"),
        (Axis(name="endless", low=0, high=math.inf), "axis endless: expected finite"),
        (Axis(name="nan", low=math.nan, high=1), "axis nan: expected finite"),
        (Axis(name="outside", low=0, high=1, start=1.5), "axis outside: expected a start inside"),
        (Axis(name="half", low=0.5, high=3, kind="int"), "axis half: expected whole bounds"),
        (Axis(name="bits", low=0, high=2, kind="binary"), "axis bits: expected the bounds 0..1"),
        (
            Axis(name="kinds", low=0, high=2, kind="categorical", choices=("a", "b")),
            "axis kinds: expected the bounds 0..1 of its choices",
        ),
    ],
)
def test_an_axis_that_makes_no_sense_is_named(name: str, axis: Axis, message: str) -> None:
    with pytest.raises(KingyoError) as error:
        build(name, [FLOAT_AXES[0], axis], 0, {})
    assert message in str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_space_has_axes_of_different_names_and_a_seed(name: str) -> None:
    with pytest.raises(KingyoError, match="at least one axis"):
        build(name, [], 0, {})
    with pytest.raises(KingyoError, match="axis density: expected a unique name; received 2 of them"):
        build(name, [FLOAT_AXES[2], FLOAT_AXES[2]], 0, {})
    with pytest.raises(KingyoError, match="seed"):
        build(name, FLOAT_AXES, -1, {})


def test_cma_es_names_the_unsupported_axis_and_alternatives() -> None:
    with pytest.raises(KingyoError, match=r"axis layers.*float.*int.*'ga'"):
        build("cma-es", MIXED_AXES, 0, {})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ga", {"population": 1}, "population"),
        ("ga", {"elites": 21}, "elites"),
        ("ga", {"tournament_size": 0}, "tournament_size"),
        ("ga", {"crossover_rate": 1.1}, "crossover_rate"),
        ("ga", {"mutation_rate": -0.1}, "mutation_rate"),
        ("ga", {"mutation_step": 0}, "mutation_step"),
        ("ga", {"selection": "lottery"}, "selection"),
        ("ga", {"populaton": 5}, "population"),
        ("cma-es", {"x0": 2}, "x0"),
        ("cma-es", {"sigma": 0}, "sigma"),
        ("cma-es", {"population": 3}, "population"),
        ("random", {"batch": 0}, "batch"),
        ("grid", {"points": 1}, "points"),
        ("grid", {"step": 0}, "step"),
        ("grid", {"limit": 0}, "limit"),
        ("grid", {"batch": 0}, "batch"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        build(name, FLOAT_AXES, 0, options)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_default_and_a_description(name: str) -> None:
    settings = STRATEGIES.get(name).Settings
    assert dataclasses.is_dataclass(settings)
    for field in dataclasses.fields(settings):
        assert field.default is not dataclasses.MISSING, field.name
        assert field.metadata["doc"], field.name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(settings(), dataclasses.fields(settings)[0].name, None)


@pytest.mark.parametrize("name", NAMES)
def test_a_count_below_zero_is_refused(name: str) -> None:
    with pytest.raises(KingyoError, match="ask"):
        build(name, FLOAT_AXES, 0, {}).ask(-1)


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(KingyoError, match="cma-es"):
        build("cmaes", FLOAT_AXES, 0, {})


def test_a_strategy_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from kingyo.strategies.random_search import RandomSearch\n"
        "class Mine(RandomSearch):\n"
        "    pass\n"
        "class Bare:\n"
        "    pass\n"
    )
    strategy = build("mine.py:Mine", FLOAT_AXES, 0, {"batch": 3}, tmp_path)
    assert isinstance(strategy, Strategy)
    assert strategy.batch == 3
    with pytest.raises(KingyoError, match="nested dataclass Settings"):
        build("mine.py:Bare", FLOAT_AXES, 0, {}, tmp_path)


PLUG_IN = """
from __future__ import annotations
from dataclasses import dataclass
from kingyo.strategies.random_search import RandomSearch
class Mine(RandomSearch):
    @dataclass(frozen=True, kw_only=True)
    class Settings(RandomSearch.Settings):
        pass
class Broken(Mine):
"""


def broken(folder: Path, body: str) -> str:
    """Return the error of `build` for a strategy class with this body."""
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    (folder / "own.py").write_text(PLUG_IN + indented)
    with pytest.raises(KingyoError) as error:
        build("own.py:Broken", FLOAT_AXES, 0, {}, folder)
    assert error.value.argument == "strategy own.py:Broken"
    assert "kingyo.testing.strategies" in error.value.remedy
    return str(error.value)


def test_an_own_strategy_may_postpone_its_annotations(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(PLUG_IN + "    pass\n")
    assert build("own.py:Broken", FLOAT_AXES, 0, {"batch": 2}, tmp_path).batch == 2


@pytest.mark.parametrize(
    ("body", "received"),
    [
        ("batch = None", "none"),
        ("batch = 'many'", "'many'"),
        ("batch = 0", "0"),
        ("batch = -2", "-2"),
        ("batch = 2.5", "2.5"),
        ("batch = True", "True"),
        ("def batch(self): return 3", "a method"),
        ("@property\ndef batch(self): raise AttributeError('batch')", "none"),
        ("@property\ndef batch(self): raise KeyError('lost')", "KeyError: 'lost' ("),
    ],
    ids=str,
)
def test_a_custom_strategy_declares_its_batch_size(tmp_path: Path, body: str, received: str) -> None:
    message = broken(tmp_path, body)
    assert f"received {received}" in message
    assert "KeyError" in received or "`batch`" in message


@pytest.mark.parametrize("method", ["ask", "tell"])
def test_a_custom_strategy_can_ask_and_tell(tmp_path: Path, method: str) -> None:
    assert f"expected a method `{method}`" in broken(tmp_path, f"{method} = None")


def test_the_batch_size_of_a_custom_strategy_is_a_count(tmp_path: Path) -> None:
    message = broken(tmp_path, "size = 'x'")
    assert "expected `size`" in message and "received 'x'" in message


@pytest.mark.parametrize(
    ("body", "received"),
    [
        ("def __init__(self): pass", "TypeError"),
        ("def __init__(self, *a): raise SystemExit(3)", "SystemExit: 3"),
        ("def __init__(self, *a): raise KeyError('lost')", "KeyError: 'lost' ("),
        ("def __new__(cls, *a): return None", "none"),
        ("class Settings: pass", "Settings"),
    ],
    ids=str,
)
def test_a_custom_strategy_that_cannot_be_built_is_reported(tmp_path: Path, body: str, received: str) -> None:
    assert received in broken(tmp_path, body).partition("; received ")[2]


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


def test_the_nearest_preset_is_suggested() -> None:
    with pytest.raises(KingyoError, match="sakana-ps"):
        preset("sakana")

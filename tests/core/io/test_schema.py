from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field

from kingyo.core.io.schema import parse_model, parse_settings
from kingyo.core.io.yaml import read_yaml
from kingyo.errors import KingyoError, MistakesError


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    low: float = Field(alias="from")
    high: float = Field(alias="to")


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    weight: dict[str, Inner | bool | float] = {}
    rooms: list[Inner] = []
    count: Annotated[int, Field(gt=0)] = 1


@dataclass(frozen=True, kw_only=True)
class Settings:
    population: int = 10
    sigma: float = 0.3
    elitist: bool = False


def test_all_mistakes_are_reported_together_and_union_ones_once() -> None:
    data = {"wieght": {}, "count": 0, "weight": {"ja": "x"}, "rooms": [{"form": 1, "to": 2}, {"from": 1}]}
    with pytest.raises(MistakesError) as caught:
        parse_model(Outer, data, "run.yaml")
    assert [(each.argument, each.received) for each in caught.value.mistakes] == [
        ("run.yaml: weight.ja", "'x'"),
        ("run.yaml: rooms[0]", "'form'"),
        ("run.yaml: rooms[1].to", "nothing"),
        ("run.yaml: count", "0"),
        ("run.yaml", "'wieght'"),
    ]
    assert "Did you mean 'weight'?" in caught.value.mistakes[-1].remedy
    with pytest.raises(MistakesError, match="3 mistakes"):
        parse_settings(Settings, {"popluation": 3, "sgima": 1, "elitist": "often"}, "search.settings")


def test_settings() -> None:
    assert parse_settings(Settings, {"sigma": 1}, "search") == Settings(sigma=1.0)
    with pytest.raises(KingyoError, match=r"'popluation'.*Did you mean 'population'\?"):
        parse_settings(Settings, {"popluation": 3}, "search.settings")


@pytest.mark.parametrize(("key", "expected"), [("population", "a whole number"), ("sigma", "a number")])
@pytest.mark.parametrize("value", [True, False])
def test_true_and_false_are_no_numbers(key: str, expected: str, value: bool) -> None:
    with pytest.raises(KingyoError, match=f"search: {key}: expected {expected}; received {value}"):
        parse_settings(Settings, {key: value}, "search")
    assert parse_settings(Settings, {"elitist": value}, "search").elitist is value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "valid YAML"),
        (b"a: b: c", "valid YAML"),
        (b"- 1\n- 2", "a mapping"),
        (b"", "a mapping"),
        (b"\xff\xfe\x00\x81", "valid YAML"),
        (b"sources:\n  a: x\n  a: y\n", "the key 'a' is given twice"),
        (b"name: 2024-13-45\n", "valid YAML"),
        (b"seed: " + b"9" * 5000, "valid YAML"),
        (b"[" * 3000, "valid YAML"),
    ],
    ids=lambda value: value[:20],
)
def test_yaml_that_cannot_be_read_or_meant(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "run.yaml"
    with pytest.raises(KingyoError, match="no such file"):
        read_yaml(path)
    path.write_bytes(content)
    with pytest.raises(KingyoError, match=message):
        read_yaml(path)


def test_a_key_from_a_yaml_merge_can_be_overridden(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("plain: &plain {a: 1, b: 2}\nown: {<<: *plain, a: 3}\n")
    assert read_yaml(path)["own"] == {"a": 3, "b": 2}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            {"weight": {"ja": "x"}},
            r"weight\.ja: expected a mapping of keys to values or true or false or a nu",
        ),
        ({"rooms": 3}, r"rooms: expected a list; received 3\. Write it as a list"),
        ({"count": "x"}, r"count: expected a whole number; received 'x'"),
    ],
)
def test_expectations_are_in_the_words_of_yaml(data: dict[str, object], says: str) -> None:
    with pytest.raises(KingyoError, match=says):
        parse_model(Outer, data, "run.yaml")


@dataclass(frozen=True, kw_only=True)
class Odd:
    span: slice | None = None


def test_settings_of_a_type_without_yaml_form_are_reported() -> None:
    with pytest.raises(KingyoError, match="mine: Odd") as error:
        parse_settings(Odd, {}, "mine")
    assert "slice" in error.value.received

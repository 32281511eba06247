"""Where candidates are found, and under which names."""

from pathlib import Path

import pytest

from kingyo.scout import find_places
from tests.models_on_disk import llama

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*where: str) -> list[str]:
    return [place.name for place in find_places(where)]


def test_the_zoos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = names("zoo")
    assert {"zoo/ja", "zoo/sight/multi", "zoo/pictures/ja/unet", "zoo/pictures/judge"} <= {*found}
    assert not any(word in name for name in found for word in ("vae", "text_encoder", "tasks"))
    assert names("zoo/pictures/ja") == ["zoo/pictures/ja/unet"] == names("zoo/pictures/ja/unet")
    (adapter,) = find_places(["zoo/pictures/ukiyoe"])
    assert adapter.is_adapter


def test_at_most_three_folders_deep_and_each_once(here: Path) -> None:
    llama(here / "a" / "b" / "c" / "deep")
    llama(here / "a" / "b" / "c" / "d" / "too-deep")
    llama(here / ".hidden")
    (here / "link").symlink_to(here / "a" / "b" / "c" / "deep")
    assert names("a") == ["a/b/c/deep"]
    assert names("a", "link", "./a/b/c/deep") == ["a/b/c/deep"]
    assert names(".") == ["link"]


def test_a_config_of_something_else_is_no_model(here: Path) -> None:
    (here / "app").mkdir()
    (here / "app" / "config.json").write_text('{"port": 80}')
    (here / "empty").mkdir()
    assert names(".") == []
    assert names("app") == ["app"], "the user means it"


def test_links_that_lead_nowhere_or_around(here: Path) -> None:
    llama(here / "a" / "model")
    (here / "a" / "shut").symlink_to(here / "a" / "shut")
    (here / "a" / "around").symlink_to(here / "a")
    assert names("a") == ["a/model"]

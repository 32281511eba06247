"""Objects of plug-ins and of the user's own files."""

from pathlib import Path

import pytest

from kingyo.errors import KingyoError
from kingyo.registry import Registry, load_from_file

OWN = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Own:
    size: int = {size}
"""


def test_files_of_the_same_name_are_loaded_apart_and_may_postpone_annotations(tmp_path: Path) -> None:
    for size in (1, 2):
        (tmp_path / str(size)).mkdir()
        (tmp_path / str(size) / "own.py").write_text(OWN.format(size=size))
    one, two = (load_from_file(f"{size}/own.py:Own", tmp_path) for size in (1, 2))
    assert (one().size, two().size) == (1, 2)  # pyright: ignore
    assert one.__module__ != two.__module__


def test_a_file_is_reloaded_if_it_or_an_import_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry: Registry[list[int]] = Registry("strategy", "kingyo.search.strategies", "kingyo.strategies")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "behind_own.py").write_text("N = 1\n")
    (tmp_path / "own.py").write_text("from behind_own import N\nVALUE = [N]\n")
    first = registry.get("own.py:VALUE", tmp_path)
    assert first == [1] and registry.get("own.py:VALUE", tmp_path) is first
    (tmp_path / "behind_own.py").write_text("N = 2\n")  # within the second, and of the same size
    assert registry.get("own.py:VALUE", tmp_path) == [2]
    (tmp_path / "own.py").write_text("from behind_own import N\nVALUE = [7]\n")
    assert registry.get("own.py:VALUE", tmp_path) == [7]


def test_an_installed_plug_in_that_does_not_import_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "lost-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: lost\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[kingyo.lost]\nmine = no_such_module:Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry: Registry[object] = Registry("strategy", "kingyo.search.strategies", "kingyo.lost")
    assert registry.names() == ["mine"]
    with pytest.raises(KingyoError, match=r"plug-in mine \(no_such_module:Mine\).*No module named"):
        registry.get("mine")

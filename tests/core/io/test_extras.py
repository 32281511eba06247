"""Errors about optional libraries name a command that installs them."""

import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from kingyo.core.io import extras
from kingyo.core.io.extras import EXTRAS, install_command, library, require_extra
from kingyo.errors import KingyoError

ROOT = Path(__file__).parents[3]
MODULES = [(extra, module) for extra, modules in EXTRAS.items() for module in modules]


def test_these_are_the_extras_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert EXTRAS.keys() == project["optional-dependencies"].keys() - {"all", "bench", "dev"}


@pytest.mark.parametrize(("extra", "module"), MODULES)
def test_a_missing_library_is_named_with_its_extra(
    extra: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in EXTRAS[extra]:
        monkeypatch.setitem(sys.modules, each, sys if each != module else None)
    monkeypatch.setattr(extras, "find_spec", lambda name: sys.modules[name])
    for check in (lambda: library("task", module, "Or go."), lambda: require_extra("task", extra, "Or go.")):
        with pytest.raises(KingyoError) as caught:
            check()
        assert caught.value.argument == "task" and f"`{extra}`" in caught.value.expected
        assert caught.value.received == "an installation without it"
        assert caught.value.remedy == f"Run `{install_command(extra)}`. Or go."


def test_a_library_that_cannot_be_imported_is_no_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lingua.py").write_text("from os import no_such_name\n")
    monkeypatch.delitem(sys.modules, "lingua", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KingyoError) as caught:
        library("task", "lingua")
    assert "no_such_name" in caught.value.received


def test_a_library_without_an_extra_is_installed_alone() -> None:
    with pytest.raises(KingyoError) as error:
        library("grader mine", "no_such_library")
    assert error.value.expected == "the library no-such-library"
    assert "pip install no_such_library" in error.value.remedy


def test_the_command_installs_the_clone_and_elsewhere_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(install_command("draw"))
    assert words == [sys.executable, "-m", "pip", "install", "-e", f"{ROOT}[draw]"]
    monkeypatch.setattr(extras, "_ROOT", tmp_path)
    assert shlex.split(install_command("draw"))[-1] == "kingyo[draw]"

"""Dependencies of a user's file: every change in them is detected, and no other."""

import importlib
import sys
from pathlib import Path

import pytest

from kingyo.core.user_code.files import files_behind, hash_own, libraries_behind, loaded_below

FILES = {
    "helper.py": "import deeper\n",
    "deeper.py": "",
    "parts/__init__.py": "from .first import one\n",
    "parts/first.py": "from . import second\n",
    "parts/second.py": "",
    "named.py": "FILES = ('answers.json',)",
    "parts/named.py": "FILES = ('b.txt',)",
    "answers.json": "{}",
    "lib/odd.py": "",
    "env/pyvenv.cfg": "",
    "env/inner.py": "",
    "site-packages/outer.py": "",
    "unrelated.py": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import helper", {"helper.py", "deeper.py"}),
        ("def grade(answer, item):\n    from helper import x\n    return x", {"helper.py", "deeper.py"}),
        ("def grade(answer, item):\n    return __import__('helper').x", {"helper.py", "deeper.py"}),
        ("import importlib\ngrade = importlib.import_module('deeper')", {"deeper.py"}),
        ("from pathlib import Path\nPATH = Path(__file__).with_name('deeper.py')", {"deeper.py"}),
        ("import sys\nsys.path.insert(0, 'lib')\nPATH = 'lib/odd.py'", {"lib/odd.py"}),
        ("import importlib\nimportlib.import_module('site-packages.outer')", set[str]()),
        ("import parts.second", {"parts/__init__.py", "parts/first.py", "parts/second.py"}),
        ("FILES = ('answers.json',)", {"answers.json"}),
        ("FILES: list[str] = ['answers.json', 'gone.json']", {"answers.json", "gone.json"}),
        ("FILES = 'answers.json'", {"answers.json"}),
        ("import named", {"named.py", "answers.json"}),
        (
            "import parts.named",
            {"parts/__init__.py", "parts/first.py", "parts/second.py", "parts/named.py"} | {"parts/b.txt"},
        ),
        ("import json, env.inner, torch", set[str]()),
        ("from site-packages import outer", set[str]()),
    ],
)
def test_imports_and_named_files_are_found(folder: Path, code: str, expected: set[str]) -> None:
    (folder / "grade.py").write_text(code)
    files = files_behind(folder / "grade.py", folder.resolve())
    assert {str(path.relative_to(folder)) for path in files} == expected


def test_installed_libraries_that_it_and_its_helpers_import_are_found(folder: Path) -> None:
    (folder / "grade.py").write_text("import json, os.path, helper, numpy as np, gone\nfrom . import yaml\n")
    (folder / "deeper.py").write_text("def x():\n    from yaml.nodes import Node\n")
    assert libraries_behind(folder / "grade.py", folder.resolve()) == {"numpy", "PyYAML"}
    (folder / "numpy.py").touch()
    assert libraries_behind(folder / "grade.py", folder.resolve()) == {"PyYAML"}, "numpy.py is found first"


def test_files_that_settings_name_below_the_folder_count(folder: Path) -> None:
    (folder / "grade.py").touch()
    settings = {"a": ["parts/first.py", 3, {"b": "./answers.json"}], "c": "..", "d": "漢" * 250, "e": "gone"}
    hashes = hash_own(folder / "grade.py", settings, folder)
    assert {str(path.relative_to(folder.resolve())) for path in hashes} == {
        "grade.py",
        "parts/first.py",
        "answers.json",
    }
    (folder / "answers.json").write_text("{ }")
    assert hash_own(folder / "grade.py", settings, folder) != hashes


def test_a_module_with_a_computed_name_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder / "lib")
    monkeypatch.setitem(sys.modules, "odd", importlib.import_module("o" + "dd"))
    assert loaded_below(folder.resolve()) == {folder.resolve() / "lib" / "odd.py"}

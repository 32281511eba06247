"""The laws of the house that a program can check: imports go down only, and doors open quickly."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import kingyo

PACKAGE = Path(kingyo.__file__).parent
TESTS = Path(__file__).parent

# A room may import rooms of a smaller floor. Crafts (floor 1) never import one another; within the words,
# the joints and the journeys the order below holds.
FLOORS: dict[str, float] = {
    "atomic": 0.1,
    "errors": 0.0,
    "late": 0.0,
    "timeout": 0.0,
    "documents": 0.1,
    "types": 0.1,
    "sizes": 0.1,
    "charts": 0.1,
    "strict": 0.1,
    "registry": 0.25,
    "versions": 0.1,
    "user_files": 0.2,
    "recipe": 0.3,
    "abilities": 0.9,
    "kernels": 0.9,
    "checkpoints": 1,
    "methods": 1,
    "models": 1,
    "tasks": 1,
    "strategies": 1,
    "screens": 1,
    "store": 1,
    "stats": 1,
    "vocabulary": 1,
    "testing": 1,
    "space": 2.0,
    "compare": 2.0,
    "engine": 2.0,
    "lineage": 2.1,
    "evaluate": 2.1,
    "runners": 2.1,
    "evolution": 3.0,
    "run": 3.1,
    "results": 3.2,
    "merging": 3.1,
    "outlook": 3.2,
    "advice": 3.25,
    "export": 3.3,
    "report": 3.3,
    "cli": 4,
    "api": 4.1,
    "__main__": 5,
}
# What plug-in authors test against may know the protocol of its craft.
ALLOWED = {("testing", "methods"), ("testing", "models"), ("testing", "strategies"), ("testing", "tasks")}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "kingyo":
            names = node.module.split(".")[1:]
            found.update(names[:1] or [alias.name for alias in node.names if (PACKAGE / alias.name).exists()])
        elif isinstance(node, ast.Import):
            found.update(alias.name.split(".")[1] for alias in node.names if alias.name.startswith("kingyo."))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    for there in imported_rooms(path) - {here}:
        assert FLOORS[there] < FLOORS[here] or (here, there) in ALLOWED, f"{here} must not import {there}"


def test_every_room_has_a_floor() -> None:
    assert {room(path) for path in MODULES} - {"__init__"} <= set(FLOORS)


def test_every_class_has_a_name_of_its_own() -> None:
    """But ``Settings``, which each strategy has, within its own class or module."""
    names = Counter(
        node.name
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and node.name != "Settings"
    )
    assert [name for name, n in names.items() if n > 1] == []


def test_no_test_is_imported_from_another() -> None:
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests"):
                assert ".test_" not in node.module, (
                    f"{path}: move what it takes from {node.module} to a helper"
                )


@pytest.mark.parametrize(
    "module",
    [
        "kingyo",
        "kingyo.checkpoints",
        "kingyo.cli",
        "kingyo.kernels.fused",
        "kingyo.lineage",
        "kingyo.engine",
        "kingyo.merging",
        "kingyo.methods",
        "kingyo.outlook",
        "kingyo.run.journeys",
        "kingyo.stats",
        "kingyo.store",
        "kingyo.strategies",
        "kingyo.vocabulary",
    ],
)
def test_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_late_tensor_is_for_annotations_only(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not any(isinstance(node, ast.ImportFrom) and node.module == "kingyo.late" for node in ast.walk(tree)):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            kinds = {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
            assert "Tensor" not in kinds, f"{path}:{node.lineno}: it needs torch.Tensor"

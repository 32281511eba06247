"""The laws of the house that a program can check: imports go down only, and doors open quickly."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

import kingyo

PACKAGE = Path(kingyo.__file__).parent
TESTS = Path(__file__).parent

# A part may import parts of a lower floor; those of one floor never import one another.
FLOORS = {
    "core": 0,
    "errors": 0,
    "merging": 0,
    "search": 0,
    "core.io": 1,
    "core.types": 1,
    "core.user_code": 2,
    "registry": 3,
    "merging.recipe": 4,
    "stats.irt": 4,
    "merging.kernels": 5,
    "models.vision": 5,
    "stats": 5,
    "merging.checkpoints": 6,
    "merging.methods": 6,
    "merging.vocabulary": 6,
    "models": 6,
    "search.strategies": 6,
    "store": 6,
    "tasks": 6,
    "testing": 6,
    "views.charts": 6,
    "merging.lineage": 7,
    "search.space": 7,
    "merging.engine": 8,
    "search.runners": 9,
    "search.evolution": 10,
    "runs": 11,
    "views.results": 12,
    "scout": 13,
    "views.rating": 13,
    "views": 14,
    "export": 15,
    "api": 16,
    "cli": 17,
    "__main__": 18,
}
# What plug-in authors test against may know the protocol of its craft.
ALLOWED = {("testing", part) for part in ("merging.methods", "models", "search.strategies", "tasks")}
# The rooms as one sees them: each may import those before it.
HOUSE = ("errors", "core", "registry", "stats", "store", "merging", "models", "tasks", "testing", "search")
HOUSE += ("runs", "scout", "views", "export", "api", "cli", "__main__")

MODULES = sorted(PACKAGE.rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def part_of(names: Sequence[str]) -> str:
    """Return the part of the house in which a module is: a room, or a folder in it that has a floor."""
    inner = ".".join(names[:2])
    return inner if inner in FLOORS else names[0]


def room(path: Path) -> str:
    return part_of(path.relative_to(PACKAGE).with_suffix("").parts)


def imported_rooms(path: Path) -> set[str]:
    rooms: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "kingyo":
            names = node.module.split(".")[1:]
            modules = [[*names, alias.name] for alias in node.names]
            rooms.update(part_of(each) for each in modules if names or (PACKAGE / each[0]).exists())
        elif isinstance(node, ast.Import):
            imported = (alias.name.split(".")[1:] for alias in node.names if alias.name.startswith("kingyo."))
            rooms.update(part_of(names) for names in imported)
    return rooms


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    for there in imported_rooms(path) - {here}:
        assert FLOORS[there] < FLOORS[here] or (here, there) in ALLOWED, f"{here} must not import {there}"
        above, below = here.split(".")[0], there.split(".")[0]
        assert above == below or HOUSE.index(below) < HOUSE.index(above) or (here, there) in ALLOWED


def test_every_room_has_a_floor() -> None:
    assert {room(path) for path in MODULES} - {"__init__"} <= set(FLOORS)


def test_every_class_has_a_name_of_its_own() -> None:
    """``Settings`` is exempt: each strategy has one in its class or module."""
    names = Counter(
        node.name
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef) and node.name != "Settings"
    )
    assert [name for name, n in names.items() if n > 1] == []


def imported_modules(path: Path) -> set[Path]:
    """Return the modules of the same room that a module imports: within functions and for types, too."""
    rooms: set[Path] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("kingyo."):
            module = PACKAGE.joinpath(*node.module.split(".")[1:])
            names = {module / f"{alias.name}.py" for alias in node.names}
            rooms.update(names, {module.with_suffix(".py")})
            if not all(name.is_file() for name in names):
                rooms.add(module / "__init__.py")
    return {each for each in rooms if each.is_file() and room(each) == room(path)}


def test_no_circle_inside_a_room() -> None:
    below = {path: imported_modules(path) for path in MODULES}
    while ends := [path for path, imports in below.items() if not imports & below.keys()]:
        for path in ends:
            del below[path]
    assert sorted(str(path.relative_to(PACKAGE)) for path in below) == []


def test_the_architecture_page_names_files_that_exist() -> None:
    page = (TESTS.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| ((?:`[a-z_/]+` )+)\| (.+) \|$", page)
    names = [(cell, name) for cell, files in rows for name in re.findall(r"`([a-z_]+)/?`", files)]

    def exists(folder: Path, name: str) -> bool:
        return (folder / f"{name}.py").is_file() or (folder / name).is_dir()

    gone = [
        (cell, name)
        for cell, name in names
        if name != "describe"
        and not any(exists(PACKAGE / each, name) for each in re.findall(r"`([a-z_/]+)/`", cell))
    ]
    assert len(names) > 60 and gone == []


# Sizes only fall: lower a number when a change makes room.
LINES, FILES, ROOMS, CLI_LINES, TEST_LINES, DOC_WORDS = 53_999, 295, 14, 3_062, 42_065, 38_862


def test_the_house_does_not_grow() -> None:
    def lines(folder: Path) -> int:
        return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in folder.rglob("*.py"))

    root = PACKAGE.parents[1]
    pages = (*root.glob("*.md"), *root.glob("docs/*.md"))
    rooms = {path.parent.relative_to(PACKAGE).parts[0] for path in MODULES if path.parent != PACKAGE}
    assert lines(PACKAGE) <= LINES and len(MODULES) <= FILES and len(rooms) <= ROOMS
    assert lines(PACKAGE / "cli") <= CLI_LINES and lines(TESTS) <= TEST_LINES
    assert sum(len(page.read_text(encoding="utf-8").split()) for page in pages) <= DOC_WORDS


def test_percent_signs_follow_their_numbers_directly() -> None:
    root = PACKAGE.parents[1]
    pages = (*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("examples/*/README.md"))
    wrong = [
        f"{path.relative_to(root)}: {line}"
        for path in (*MODULES, *pages)
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search("[0-9}] %", line)
    ]
    assert not wrong, "write 99.3%, with kingyo.core.io.units.percent"


def test_no_test_is_imported_from_another() -> None:
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests"):
                assert ".test_" not in node.module, (
                    f"{path}: move what it takes from {node.module} to a helper"
                )


WITHOUT_TORCH = """kingyo merging.checkpoints cli merging.kernels.machine_code merging.lineage merging.engine
merging.engine.preflight merging.methods runs.dry_run runs.resume scout stats store search.strategies
merging.vocabulary"""


def test_no_torch() -> None:
    code = "import sys\n"
    for module in WITHOUT_TORCH.split():
        code += f"import {module if module == 'kingyo' else f'kingyo.{module}'}\n"
        code += f"assert not {{'torch', 'transformers'}} & sys.modules.keys(), {module!r}\n"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_late_tensor_is_for_annotations_only(path: Path) -> None:
    tree = tree_of(path)
    if not any(
        isinstance(node, ast.ImportFrom) and node.module == "kingyo.core.io.lazy_torch"
        for node in ast.walk(tree)
    ):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            kinds = {each.id for each in ast.walk(node.args[1]) if isinstance(each, ast.Name)}
            assert "Tensor" not in kinds, f"{path}:{node.lineno}: it needs torch.Tensor"

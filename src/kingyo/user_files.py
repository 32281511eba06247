"""Which files a user's own file depends on: what it imports below a folder, and data that it names.

Code is read as text: none of it is run. What is installed (site-packages, a virtual environment, Python's own
library) does not count, wherever it lies.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast

from kingyo.errors import KingyoError
from kingyo.versions import PACKAGE

DATA = "FILES"
"""A name in a user's file: the data files that it reads, relative to it."""
LONGEST = 255  # of a file's name
_INSTALLED = ("site-packages", "dist-packages")


def files_behind(file: Path, root: Path) -> set[Path]:
    """Return the code below a folder that a file imports, now or later, and the data that the file names.

    Imports within functions count; so does a text such as "helper.py" that names a file beside the code.

    Args:
        file: the user's.
        root: a folder that holds it, with no symbolic link in its path.

    Raises:
        KingyoError: the file's ``FILES`` is no row of file names.
    """
    first = file.parent.resolve() / file.name
    found: set[Path] = set()
    waiting = [first]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _counted(_imported(path, root), root)
    return found - {first} | {first.parent / name for name in _data(first)}


def loaded_below(root: Path) -> set[Path]:
    """Return the files of the modules that this process has loaded from below a folder, as above."""
    modules = [module for name, module in list(sys.modules.items()) if name != "__main__"]
    files = [
        cast("object", vars(module).get("__file__")) for module in modules if hasattr(module, "__dict__")
    ]
    paths = [Path(file) for file in files if isinstance(file, str)]
    return set(_counted((path.parent.resolve() / path.name for path in paths), root))


def _counted(paths: Iterable[Path], root: Path) -> Iterator[Path]:
    return (path for path in paths if path.is_relative_to(root) and path.is_file() and _is_own(path, root))


def _is_own(path: Path, root: Path) -> bool:
    """Whether a file below a folder is the user's own, and not installed."""
    libraries = {PACKAGE, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))}
    if any(path.is_relative_to(each) for each in libraries if not root.is_relative_to(each)):
        return False
    between = [each for each in path.parents if each != root and each.is_relative_to(root)]
    return not any(each.name in _INSTALLED or (each / "pyvenv.cfg").is_file() for each in between)


def _imported(path: Path, root: Path) -> Iterator[Path]:
    """Where Python might find what a file imports; most of these paths are no files."""
    below = [Path(each).resolve() for each in sys.path]
    folders = [path.parent, root, *(each for each in below if each.is_relative_to(root))]
    for node in ast.walk(_tree(path)):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield from _modules(alias.name, folders)
            case ast.ImportFrom(module=module, names=names, level=level):
                starts = folders if level == 0 else path.parents[level - 1 : level]
                for alias in names:
                    yield from _modules(f"{module}.{alias.name}" if module else alias.name, starts)
            case ast.Call(
                func=ast.Name(id=called) | ast.Attribute(attr=called),
                args=[ast.Constant(value=str(name)), *_],
            ) if called in ("import_module", "__import__"):
                yield from _modules(name, folders)
            case ast.Constant(value=str(name)) if name.endswith(".py") and len(name) <= LONGEST:
                yield path.parent / name
            case _:
                continue


def _modules(name: str, folders: Sequence[Path]) -> Iterator[Path]:
    """The files of a module, and of the packages that it is in."""
    for folder in folders:
        place = folder
        for part in name.split("."):
            yield place / f"{part}.py"
            place /= part
            yield place / "__init__.py"


def _data(file: Path) -> list[str]:
    for node in _tree(file).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == DATA:
                return _names(file, value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if name == DATA:
                return _names(file, value)
            case _:
                continue
    return []


def _names(file: Path, value: ast.expr) -> list[str]:
    rows = value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
    names = [each.value for each in rows if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    if len(names) < len(rows):
        raise KingyoError(
            f"{DATA} in {file.name}",
            expected="names of the data files that the code reads, written out",
            received=ast.unparse(value),
            remedy=f'Write {DATA} = ("answers.json", "words.txt"), or call it something else.',
        )
    return names


def _tree(path: Path) -> ast.Module:
    """The code of a file; what is no Python holds nothing: whoever loads it says so better."""
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ast.Module(body=[], type_ignores=[])

"""What a user's own file depends on: code that it imports, data that it and its settings name, libraries.

Code is read as text: none of it is run. What is installed (site-packages, a virtual environment, Python's own
library) does not count, wherever it lies.
"""

from __future__ import annotations

import ast
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import cast

from kingyo.errors import KingyoError
from kingyo.user_code.versions import PACKAGE, digest

DATA = "FILES"
"""A name in a user's file: the data files that it reads, relative to it."""
LONGEST = 255  # of a file's name, in bytes
_INSTALLED = ("site-packages", "dist-packages")


def hash_own(file: Path, settings: object, folder: Path) -> dict[Path, str]:
    """Return the SHA-256 of a user's file, and of all files that it depends on; empty where one is gone.

    Args:
        file: the user's.
        settings: what the run.yaml gives it; a text there may name a file.
        folder: where the run.yaml's paths start.

    Raises:
        KingyoError: see ``files_behind``.
    """
    given = (folder / text for text in _texts(settings))
    data = {path for path in given if path.is_file()}
    behind = files_behind(file, root_of(file, folder))
    return {path: digest(path) for path in {in_place(file), *behind, *map(in_place, data)}}


def root_of(file: Path, folder: Path) -> Path:
    """Return the folder whose modules are the user's: the run.yaml's if the file lies in it, else its own."""
    own, whole = file.parent.resolve(), folder.resolve()
    return whole if own.is_relative_to(whole) else own


def files_behind(file: Path, root: Path) -> set[Path]:
    """Return the code below a folder that a file imports, now or later, and the data that all of it names.

    Imports within functions count; so does a text such as "helper.py" that names a file beside the code.

    Args:
        file: the user's.
        root: a folder that holds it, with no symbolic link in its path.

    Raises:
        KingyoError: ``FILES`` in one of them is no row of file names.
    """
    code = _code(file, root)
    return code - {in_place(file)} | {path.parent / name for path in code for name in _data(path)}


def libraries_behind(file: Path, root: Path) -> set[str]:
    """Return the installed distributions that a file, and the code that it imports, import."""
    names = {
        name.partition(".")[0]
        for path in _code(file, root)
        for name, level in _modules_in(_tree(path))
        if level == 0 and not any(_counted(_modules(name.partition(".")[0], _folders(path, root)), root))
    }
    names -= sys.stdlib_module_names
    return {distribution for name in names for distribution in _distributions().get(name, ())}


_distributions = cache(packages_distributions)  # it reads a list of files for each of them


def _code(file: Path, root: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = [in_place(file)]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _counted(_imported(path, root), root)
    return found


def in_place(file: Path) -> Path:
    """Return a path without symbolic links but that which the file itself may be."""
    return file.parent.resolve() / file.name


def _texts(settings: object) -> list[str]:
    if isinstance(settings, dict):
        settings = list(cast("dict[object, object]", settings).values())
    if isinstance(settings, list | tuple):
        return [text for each in cast("list[object]", settings) for text in _texts(each)]
    return [settings] if isinstance(settings, str) and _may_be_name(settings) else []


def _may_be_name(text: str) -> bool:
    return 0 < len(text.encode(errors="replace")) <= LONGEST


def loaded_below(root: Path) -> set[Path]:
    """Return the files of the modules that this process has loaded from below a folder, as above."""
    modules = [module for name, module in list(sys.modules.items()) if name != "__main__"]
    files = [
        cast("object", vars(module).get("__file__")) for module in modules if hasattr(module, "__dict__")
    ]
    paths = [Path(file) for file in files if isinstance(file, str)]
    return set(_counted(map(in_place, paths), root))


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
    tree = _tree(path)
    for name, level in _modules_in(tree):
        yield from _modules(name, _folders(path, root) if level == 0 else path.parents[level - 1 : level])
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(name)) if name.endswith(".py") and _may_be_name(name):
                yield path.parent / name
            case _:
                continue


def _folders(path: Path, root: Path) -> list[Path]:
    """The user's folders where a file's imports may begin."""
    below = [Path(each).resolve() for each in sys.path]
    return [path.parent, root, *(each for each in below if each.is_relative_to(root))]


def _modules_in(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The modules that code imports, each with its number of leading dots."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((alias.name, 0) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                yield from ((f"{module}.{alias.name}" if module else alias.name, level) for alias in names)
            case ast.Call(
                func=ast.Name(id=called) | ast.Attribute(attr=called),
                args=[ast.Constant(value=str(name)), *_],
            ) if called in ("import_module", "__import__"):
                yield name, 0
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

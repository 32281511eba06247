"""Find what a user's file depends on: modules, data files, and libraries; and what this process opens.

The code is parsed, never run. Installed code (site-packages, virtual environments, the standard library) does
not count as the user's, wherever it is.
"""

import ast
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import packages_distributions
from importlib.util import source_from_cache
from pathlib import Path
from typing import cast

from kingyo.core.user_code.versions import PACKAGE, digest, digest_of_path
from kingyo.errors import KingyoError

DATA = "FILES"
"""Variable in a user's file that lists the data files it reads, relative to the file."""
MAX_NAME_BYTES = 255  # bytes of a file name
_INSTALLED = ("site-packages", "dist-packages")


def hash_own(file: Path, settings: object, folder: Path) -> dict[Path, str]:
    """Return the SHA-256 of a user's file and of all files that it depends on; empty if a file is missing."""
    given = (folder / text for text in _texts(settings))
    data = {path for path in given if path.is_file()}
    behind = files_behind(file, root_of(file, folder))
    return {path: digest(path) for path in {in_place(file), *behind, *map(in_place, data)}}


def root_of(file: Path, folder: Path) -> Path:
    """Return the folder of the user's modules: ``folder`` if it contains the file, else the file's own."""
    own, given = file.parent.resolve(), folder.resolve()
    return given if own.is_relative_to(given) else own


def files_behind(file: Path, root: Path) -> set[Path]:
    """Return the modules below ``root`` that a file imports, directly or not, and the data files they name.

    Imports inside functions count, and so does a string such as "helper.py" that names a file beside it.
    ``root`` is a folder above the file, without symbolic links in its path.
    """
    code = _code(file, root)
    return code - {in_place(file)} | {path.parent / name for path in code for name in _data(path)}


def libraries_behind(file: Path, root: Path) -> set[str]:
    """Return the installed distributions that a file imports, directly or through the user's modules."""
    names = {
        name.partition(".")[0]
        for path in _code(file, root)
        for name, level in _modules_in(_tree(path))
        if level == 0 and not any(own_files(_modules(name.partition(".")[0], _folders(path, root)), root))
    }
    names -= sys.stdlib_module_names
    return {distribution for name in names for distribution in _distributions().get(name, ())}


_distributions = cache(packages_distributions)  # slow: it reads the file list of each distribution


def _code(file: Path, root: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = [in_place(file)]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += own_files(_imported(path, root), root)
    return found


def in_place(file: Path) -> Path:
    """Resolve symbolic links in the path of a file, but not the file itself."""
    return file.parent.resolve() / file.name


def _texts(settings: object) -> list[str]:
    if isinstance(settings, dict):
        settings = list(cast("dict[object, object]", settings).values())
    if isinstance(settings, list | tuple):
        return [text for each in cast("list[object]", settings) for text in _texts(each)]
    return [settings] if isinstance(settings, str) and _may_be_name(settings) else []


def _may_be_name(text: str) -> bool:
    return 0 < len(text.encode(errors="replace")) <= MAX_NAME_BYTES


def loaded_below(root: Path) -> set[Path]:
    """Return the files of the user's modules below a folder that this process has imported."""
    modules = [module for name, module in list(sys.modules.items()) if name != "__main__"]
    files = [
        cast("object", vars(module).get("__file__")) for module in modules if hasattr(module, "__dict__")
    ]
    by_folder: dict[str, set[str]] = {}  # thousands of modules are in a few hundred folders
    for file in files:
        if isinstance(file, str):
            folder, name = os.path.split(file)
            by_folder.setdefault(folder, set()).add(name)
    here = Path.cwd()
    folders = [(_resolved(here, folder), names) for folder, names in by_folder.items()]
    below = [(folder, names) for folder, names in folders if folder.is_relative_to(root)]
    return set(own_files((folder / name for folder, names in below for name in names), root))


@cache
def _resolved(here: Path, folder: str) -> Path:
    return (here / folder).resolve()


def own_files(paths: Iterable[Path], root: Path) -> Iterator[Path]:
    """Yield those of some paths that are files of the user below a folder, and not installed ones."""
    libraries = {PACKAGE, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))}
    libraries = {each for each in libraries if not root.is_relative_to(each)}
    for path in paths:
        if not path.is_relative_to(root) or not path.is_file() or any(map(path.is_relative_to, libraries)):
            continue
        between = [each for each in path.parents if each != root and each.is_relative_to(root)]
        if not any(each.name in _INSTALLED or (each / "pyvenv.cfg").is_file() for each in between):
            yield path


def _imported(path: Path, root: Path) -> Iterator[Path]:
    """Yield the paths where Python would look for what a file imports; most of them do not exist."""
    tree = _tree(path)
    for name, level in _modules_in(tree):
        yield from _modules(name, _folders(path, root) if level == 0 else path.parents[level - 1 : level])
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    names = [text for text in texts if isinstance(text, str) and text.endswith(".py")]
    yield from (path.parent / name for name in names if _may_be_name(name))


def _folders(path: Path, root: Path) -> list[Path]:
    below = [Path(each).resolve() for each in sys.path]
    return [path.parent, root, *(each for each in below if each.is_relative_to(root))]


def _modules_in(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the modules that code imports, each with its number of leading dots."""
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
    for folder in folders:
        place = folder
        for part in name.split("."):
            yield place / f"{part}.py"
            place /= part
            yield place / "__init__.py"


def _data(file: Path) -> list[str]:
    for node in _tree(file).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if not (isinstance(target, ast.Name) and target.id == DATA and isinstance(value, ast.expr)):
            continue
        rows = value.elts if isinstance(value, ast.List | ast.Tuple) else [value]
        names = [
            each.value for each in rows if isinstance(each, ast.Constant) and isinstance(each.value, str)
        ]
        if len(names) < len(rows):
            expected = "a literal list of the data files that the code reads"
            remedy = f'Write {DATA} = ("answers.json", "words.txt"), or rename the variable.'
            raise KingyoError(f"{DATA} in {file.name}", expected, ast.unparse(value), remedy)
        return names
    return []


def _tree(path: Path) -> ast.Module:
    """Parse a file. A file that is not Python is empty here; importing it gives the better error."""
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ast.Module(body=[], type_ignores=[])


# The files that this process opens, by an audit hook of Python. It sees imports under computed names and data
# files. It does not see what C code opens by itself, such as SQLite, nor other processes.

_read: dict[str, None] = {}
_written: set[str] = set()
_digests: dict[Path, dict[Path, str]] = {}
_n_looked_at: dict[Path, int] = {}


def watch() -> None:
    """Note from now on which files this process opens."""
    sys.addaudithook(_note)


def opened_below(root: Path) -> dict[Path, str]:
    """Return the SHA-256 of the user's files below a folder that were read; empty if also written.

    A file is hashed in the first call after it was opened. A file that was replaced, moved or removed counts
    as written.
    """
    known, paths = _digests.setdefault(root, {}), list(_read)
    fresh = paths[_n_looked_at.get(root, 0) :]
    _n_looked_at[root] = len(paths)
    written = {in_place(Path(each)) for each in list(_written)}
    for path in own_files((in_place(Path(_source(each))) for each in fresh), root):
        if path not in known:
            known[path] = "" if path in written else digest_of_path(path)
    return {path: "" if path in written else value for path, value in known.items()}


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open":
        path, mode, flags = arguments
        is_write = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        if is_write or (isinstance(mode, str) and not {*"wax+"}.isdisjoint(mode)):
            _written.update(_opened_name(path))
        else:
            _read.update(dict.fromkeys(_opened_name(path)))
    elif event == "os.rename":  # also os.replace and shutil.move
        old, new, *folders = arguments
        _written.update(*map(_opened_name, (old, new), folders))
    elif event == "os.remove":
        _written.update(_opened_name(*arguments))


def _opened_name(path: object, folder: object = -1) -> tuple[str, ...]:
    """Return the absolute path of a file, or nothing for a descriptor, and for a path in an open folder."""
    if folder != -1 or not isinstance(path, str | bytes | os.PathLike):
        return ()
    name = os.fsdecode(cast("str | bytes | os.PathLike[str]", path))
    return (os.path.abspath(name),)  # noqa: PTH100 (called at every open)


def _source(path: str) -> str:
    try:
        return source_from_cache(path) if path.endswith(".pyc") else path
    except ValueError:
        return path

"""Find methods, strategies and graders by name: in the package, in a plug-in, or in a user's file.

Modules of the package register their objects when they are imported, which happens on first use.
"""

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Collection
from hashlib import sha256
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Generic, TypeVar, cast

from kingyo.core.user_code.files import files_behind, in_place, root_of
from kingyo.core.user_code.versions import plugins_of
from kingyo.errors import KingyoError, suggest, unknown_name_error

T = TypeVar("T")

_IN_FILE = ".py:"


_Stamps = dict[Path, tuple[int, int]]
"""Modification time and size of files; zeros for missing ones."""


class Registry(Generic[T]):
    """Named objects of one kind, such as "merge method", from the modules of a package or from elsewhere.

    ``group`` is the entry-point group of plug-ins; ``check`` gets objects from outside and their names.
    """

    def __init__(
        self, kind: str, package: str, group: str, check: Callable[[str, object], None] | None = None
    ) -> None:
        self._kind = kind
        self._package = package
        self._group = group
        self._check = check
        self._found: dict[str, T] = {}
        self._from_files: dict[str, tuple[T, _Stamps]] = {}
        self._scanned = False

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers an object or a class under a name."""

        def put(thing: T) -> T:
            if name in self._found:
                raise ValueError(f"two {self._kind}s are called '{name}'")
            self._found[name] = thing
            return thing

        return put

    def names(self) -> list[str]:
        """Return the sorted names of the package and of plug-ins."""
        self._scan()
        plugins = [point.name for point in plugins_of(self._group)]
        return sorted({*self._found, *plugins})

    def is_registered(self, name: str) -> bool:
        """Return whether a name was registered in this process, not by an entry point or a file."""
        self._scan()
        return name in self._found

    def distribution(self, thing: T) -> str | None:
        """Return the distribution whose plug-in an object is, or None."""
        for point in plugins_of(self._group):
            if point.dist is not None and not self.is_registered(point.name) and _loaded(point) is thing:
                return point.dist.name
        return None

    def get(self, name: str, folder: Path | None = None) -> T:
        """Return an object by its name, or by ``path/to/file.py:Name`` relative to ``folder``.

        A file is loaded once, and again after it or a module that it imports has changed.
        """
        self._scan()
        if name in self._found:
            return self._found[name]
        if is_in_file(name):
            return self._in_file(name, folder or Path.cwd())
        for point in plugins_of(self._group):
            if point.name == name:
                return self._checked(name, _loaded(point))
        raise unknown_name_error(self._kind, name, self.names())

    def _in_file(self, name: str, folder: Path) -> T:
        place = whole_reference(name, folder)
        thing, stamps = self._from_files.get(place) or (None, _Stamps())
        if stamps != _stamps(stamps):  # make Python import these files again
            thing = None
            importlib.invalidate_caches()
            for file in stamps:  # Python trusts its cache if a file changed within a second and kept its size
                Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)
            for key, module in list(sys.modules.items()):
                file = getattr(module, "__file__", None)
                if key != "__main__" and isinstance(file, str) and in_place(Path(file)) in stamps:
                    del sys.modules[key]
        if thing is None:
            thing = self._checked(name, load_from_file(name, folder))
            file = folder / name.rpartition(":")[0]
            files = {in_place(file), *files_behind(file, root_of(file, folder))}
            self._from_files[place] = thing, _stamps(files)
        return thing

    def _checked(self, name: str, found: object) -> T:
        if self._check is not None:
            self._check(name, found)
        return cast(T, found)

    def _scan(self) -> None:
        if self._scanned:
            return
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        self._scanned = True


def is_in_file(name: str) -> bool:
    """Return whether a name refers to a user's file: ``path/to/file.py:Name``."""
    return _IN_FILE in name


def whole_reference(name: str, folder: Path) -> str:
    """Return a name that is valid from every folder: one of a user's file gets its absolute path."""
    return str(folder.resolve() / name) if is_in_file(name) else name


def _stamps(files: Collection[Path]) -> _Stamps:
    stats = {file: file.stat() if file.is_file() else None for file in files}
    return {file: (stat.st_mtime_ns, stat.st_size) if stat else (0, 0) for file, stat in stats.items()}


def _loaded(point: EntryPoint) -> object:
    try:
        return cast(object, point.load())
    except (Exception, SystemExit) as error:
        expected = "a module that imports"
        received = f"{type(error).__name__}: {error}"
        remedy = "Install what it needs, or uninstall the package that contains it."
        raise KingyoError(f"plug-in {point.name} ({point.value})", expected, received, remedy) from error


def load_from_file(reference: str, folder: Path | None = None) -> object:
    """Load the object ``path/to/file.py:Name``. This runs the file, which the user named."""
    file, _, name = reference.rpartition(":")
    path = (folder or Path.cwd()) / file
    if not path.is_file():
        remedy = f"Correct the path; it is relative to {(folder or Path.cwd()).resolve()}."
        raise KingyoError(reference, "a Python file", f"no file {path}", remedy)
    own = sha256(str(path.resolve()).encode()).hexdigest()[:8]  # so that files with equal names do not clash
    spec = importlib.util.spec_from_file_location(f"kingyo_user_{path.stem}_{own}", path)
    assert spec is not None and spec.loader is not None, "it ends in .py"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up annotations there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # any crash of the user's file
        del sys.modules[spec.name]
        expected = "a file that imports"
        remedy = "Fix the file until Python imports it, or install what it needs."
        raise KingyoError(reference, expected, f"{type(error).__name__}: {error}", remedy) from error
    if not hasattr(module, name):
        public = [each for each in vars(module) if not each.startswith("_")]
        raise KingyoError(reference, f"a name in {path.name}", f"'{name}'", suggest(name, public))
    return cast(object, getattr(module, name))

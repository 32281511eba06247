"""Versions of kingyo, of its libraries and plug-ins, and hashes of code: what scores depend on."""

import sys
from collections.abc import Sequence
from functools import cache
from hashlib import file_digest, sha256
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path

from kingyo import __version__
from kingyo.core.types import DATABASE

PACKAGE = Path(__file__).parents[2]
KINGYO, CODE, PYTHON = "kingyo", "kingyo's code", "python"
SCORING = (
    "core/io/model_names.py",
    "core/io/pipeline_index.py",
    "core/io/schema.py",
    "core/types",
    "core/user_code/timeout.py",
    "core/user_code/versions.py",
    "merging/checkpoints",
    "merging/engine",
    "merging/kernels",
    "merging/methods",
    "merging/recipe",
    "merging/vocabulary",
    "models",
    "registry.py",
    "runs",
    "search/runners",
    "search/space",
    "tasks",
)
"""Packages that decode, merge, answer and grade. A change of their code may change scores."""
LIBRARIES = ("torch", "numpy", "safetensors", "numba")
"""Libraries that merging depends on, if installed. A kind of model adds its own."""
PLUGINS = (
    "kingyo.graders",
    "kingyo.methods",
    "kingyo.model_kinds",
    "kingyo.tasks",
)
"""Entry-point groups whose code affects scores."""


def plugins_of(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group. Those of a path are read once: it takes milliseconds."""
    return _plugins_on(tuple(sys.path), group)


@cache
def _plugins_on(path: tuple[str, ...], group: str) -> tuple[EntryPoint, ...]:  # noqa: ARG001 (read by importlib)
    return tuple(entry_points(group=group))


@cache
def hash_of_code(rooms: tuple[str, ...], package: Path = PACKAGE) -> str:
    """Return a hash of the code and the data in folders of a package, and of the files' names."""
    files = [path for room in rooms for path in sorted((package / room).rglob("*.*")) or [package / room]]
    files = [path for path in files if path.suffix in (".py", ".jinja", ".yaml")]
    names = (str(path.relative_to(package)) for path in files)
    return hash_of("\n".join(f"{name} {digest(path)}" for name, path in zip(names, files, strict=True)))


def version_of_library(name: str) -> str | None:
    """Return the version of a distribution, or None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def version_now(name: str) -> str | None:
    """Return the current version of an entry of ``scoring_versions``, by its name."""
    own = {
        KINGYO: lambda: __version__,
        CODE: lambda: hash_of_code(SCORING)[:12],
        PYTHON: lambda: f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    return own[name]() if name in own else version_of_library(name)


def scoring_versions(extras: Sequence[str] = (), named: Sequence[str] = ()) -> dict[str, str]:
    """Return the versions that scores depend on: kingyo, its code, Python, libraries and plug-ins."""
    points = [point for group in PLUGINS for point in plugins_of(group) if point.name in named]
    plugins = sorted({point.dist.name for point in points if point.dist is not None})
    found = {name: version_now(name) for name in (KINGYO, CODE, PYTHON, *LIBRARIES, *extras, *plugins)}
    return {name: value for name, value in found.items() if value is not None}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or an empty string if it is missing."""
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def digest_of_path(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of all files in a folder.

    See ``deciding_files``. A file that is unchanged since the last call is not read again.
    """
    files = deciding_files(path)
    if files == [path]:
        return _digest_of(path)
    return hash_of("\n".join(f"{each.relative_to(path).as_posix()} {_digest_of(each)}" for each in files))


def _digest_of(path: Path) -> str:
    stat = path.stat()
    return _digest_as_stamped(path.resolve(), stat.st_mtime_ns, stat.st_size)


@cache
def _digest_as_stamped(path: Path, mtime: int, size: int) -> str:  # noqa: ARG001 (stamps for the cache)
    with path.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def hash_of(text: str) -> str:
    """Return the SHA-256 of a text."""
    return sha256(text.encode()).hexdigest()


def deciding_files(path: Path) -> list[Path]:
    """Return a file, or the files in a folder that scores depend on, and in those below it, sorted.

    README.md, hidden files and the folders of runs do not count.
    """
    if path.is_file():
        return [path]
    files = sorted(each for each in path.rglob("*") if each.is_file() and _decides(each.relative_to(path)))
    runs = {each.parent for each in files if each.name == DATABASE} - {path}
    return [each for each in files if runs.isdisjoint(each.parents)]


def _decides(path: Path) -> bool:
    return path.name != "README.md" and not any(part.startswith(".") for part in path.parts)

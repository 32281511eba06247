"""Which kingyo and which libraries compute here, and the bytes of code: what a score or an ask depends on.

It knows no run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path

from kingyo import __version__

PACKAGE = Path(__file__).parent.parent
KINGYO, CODE, PYTHON = "kingyo", "kingyo's code", "python"
SCORING = (
    "checkpoints",
    "engine",
    "kernels",
    "methods",
    "models",
    "recipe",
    "run",
    "runners",
    "space",
    "tasks",
    "vocabulary",
    "io/schema.py",
    "registry.py",
    "types.py",
    "user_code/timeout.py",
)
"""Rooms that decode, merge, answer and grade: with other code in them a recipe may score otherwise."""
LIBRARIES = ("torch", "numpy", "safetensors", "numba")
"""What merging depends on; those of them that are installed count. A kind of model adds its own."""
PLUGINS = ("kingyo.graders", "kingyo.methods", "kingyo.model_kinds", "kingyo.tasks")
"""Entry points whose code changes scores."""


@cache
def hash_of_code(rooms: tuple[str, ...], package: Path = PACKAGE) -> str:
    """Return a hash of the Python files of rooms of a package, with their names."""
    files = [path for room in rooms for path in sorted((package / room).rglob("*.py")) or [package / room]]
    names = (str(path.relative_to(package)) for path in files)
    return hash_of("\n".join(f"{name} {digest(path)}" for name, path in zip(names, files, strict=True)))


def version_of_library(name: str) -> str | None:
    """Return the version of an installed distribution; None where there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def version_now(name: str) -> str | None:
    """Return the version of one thing that scores depend on, by the name that ``scoring_versions`` gives."""
    own = {
        KINGYO: lambda: __version__,
        CODE: lambda: hash_of_code(SCORING)[:12],
        PYTHON: lambda: f"{sys.version_info.major}.{sys.version_info.minor}",
    }
    return own[name]() if name in own else version_of_library(name)


def scoring_versions(extras: Sequence[str] = (), named: Sequence[str] = ()) -> dict[str, str]:
    """Return the version of all that scores depend on: kingyo, its code, Python, libraries, plug-ins.

    Args:
        extras: distributions that are needed beside ``LIBRARIES``.
        named: graders, kinds of task and of model, and methods that are used; those of plug-ins count.
    """
    points = [point for group in PLUGINS for point in entry_points(group=group) if point.name in named]
    plugins = sorted({point.dist.name for point in points if point.dist is not None})
    found = {name: version_now(name) for name in (KINGYO, CODE, PYTHON, *LIBRARIES, *extras, *plugins)}
    return {name: value for name, value in found.items() if value is not None}


def digest(path: Path) -> str:
    """Return the SHA-256 of a file; empty when it is gone, which whoever loads it says better."""
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def hash_of(text: str) -> str:
    """Return the SHA-256 of a text."""
    return sha256(text.encode()).hexdigest()

"""What the asks of a strategy depend on besides its log, as one text: code, libraries, space and seed.

A state is restored only into what it came from; anything else replays the log, which tells whether it fits.
"""

from __future__ import annotations

import json
import sys
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import kingyo
from kingyo.evolve.words import Search

LIBRARIES = ("numpy", "cmaes", "optuna", "scipy", "torch")  # that strategies of the package compute with
ROOMS = ("strategies", "abilities")


def version_of(search: Search) -> str:
    """Return a hash of all that decides what the strategy of a search asks, but for what it was told."""
    modules = {kind.__module__ for kind in type(search.strategy).__mro__[:-1]}
    files = {getattr(sys.modules.get(module), "__file__", None) for module in modules}
    own = [_digest(Path(file)) for file in sorted(filter(None, files))]
    space = [repr(axis) for axis in search.space.axes]
    said = json.dumps(search.description, sort_keys=True, default=repr)
    return _hash(json.dumps([_installed(), own, space, search.seed, said]))


@cache
def _installed() -> str:
    """The package's own code, and the versions of what it computes with."""
    folder = Path(kingyo.__file__).parent
    code = [_digest(path) for room in ROOMS for path in sorted((folder / room).glob("*.py"))]
    return _hash(json.dumps([kingyo.__version__, sys.version, [_version(name) for name in LIBRARIES], code]))


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
